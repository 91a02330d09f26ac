# Graph.
