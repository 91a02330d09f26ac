# Graph: the network as a drawing; pieces that panels share; jobs and the log; what an open project knows.

graph-no-project = No project is open
    .hint = The network is drawn here.
graph-none = There is no network to draw
    .hint = The file holds weights alone. Make a project with the network's ONNX file to see it drawn.
graph-failed = The network could not be drawn
graph-wait = Being drawn…
graph-name = Network of { $nodes } nodes, drawn as { $boxes } boxes
graph-find = Find a node
graph-found = { $count } found; Enter goes on
graph-fit = Fit
    .tooltip = Shows the whole network
graph-open = Open all
    .tooltip = Opens every block
graph-close = Close all
    .tooltip = Closes every block; a double click opens one
graph-color = Color
graph-color-name = What boxes are colored by
graph-color-bits = { $bits } bits
graph-color-most = to { $amount }
graph-input = Input
graph-output = Output
graph-block = { $count ->
        [one] { $count } node
       *[other] { $count } nodes
    }
graph-box = { $kind }: { $name }
graph-reads = reads { $shape }
graph-gives = gives { $shape }
graph-layer = { $layer }: { $scheme }, { $size }
graph-layer-scored = { $layer }: { $scheme }, { $size }, { $error }
graph-hint-open = Double click: open
graph-hint-close = Double click: close the block around it

# Pieces that panels share.
widgets-shortcut = { $tooltip } ({ $shortcut })
widgets-disabled = { $tooltip }. { $needs }
widgets-legend-weights = Colors of the weight error, from 45 dB or more (next to none) to 0 dB (as large as the weights)
widgets-legend-loss = Colors of the loss, from 0.03 thousandths of a nat (next to nothing) to one nat
widgets-heat-cell = { $layer }, { $bits } bits: { $error }
widgets-heat-unknown = not known yet
widgets-heat-loses = loses { $loss }
widgets-heat-not-finite = the output is not finite
pictures-before = before
pictures-after = after
pictures-difference = before minus after
pictures-kept = weights that are left
pictures-class = class { $number }

# Jobs and the log.
jobs-none = Nothing runs
    .hint = F5 evaluates the active recipe.
jobs-cancel = Cancel
jobs-cancel-name = Cancel { $job }
jobs-waiting = Waiting for its turn
jobs-cancelling = Cancelling…
jobs-starting = Starting
jobs-stage = { $stage }, { $done } of { $total }
jobs-left = { $stage }, { $time } left
log-none = Nothing to report
    .hint = Warnings and results are listed here.
log-lines = { $count ->
        [one] { $count } line
       *[other] { $count } lines
    }
log-clear = Clear
log-line = { $subject }: { $message }
log-show = Show this layer
log-information = Information
log-done = Done
log-warning = Warning
log-failed = Failed

# What an open project knows: ties between layers, and what layers lose.
bench-tie-projections = { $count } layers read the same data and take one treatment
bench-tie-sums = { $count } layers meet in sums: their data have one range
bench-tie-channels = { $count } layers lose the same channels: { $kept } of { $all } are left
losses-within = { $loss } (± { $error })
losses-why = { $samples ->
        [one] Alone it loses { $loss } as it is now: place { $place } of { $layers } layers, on { $samples } sample.
       *[other] Alone it loses { $loss } as it is now: place { $place } of { $layers } layers, on { $samples } samples.
    }
losses-why-not-finite = With this alone the network's output is no longer finite.
losses-why-narrower = { $bits } bits would save { $size } and lose { $loss }.
losses-why-wider = { $bits } bits would take { $size } more and lose { $loss }.
losses-why-between = { " " }
