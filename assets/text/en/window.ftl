# The window itself: its language, workspaces and panels.

language-name = English
language-no-font = No font of the system has Chinese characters. Install one, for example fonts-noto-cjk, and choose the language again.

workspace-load = Load
workspace-configure = Configure
workspace-graph = Graph
workspace-compare = Compare
workspace-export = Export
pane-model = Model
pane-data = Data
pane-grid = Layers
pane-inspector = Inspector
pane-corrections = Corrections
pane-importance = Importance
pane-weights = Weights
pane-recipe = Recipe
pane-tradeoff = Trade-off
pane-points = Points
pane-jobs = Jobs
pane-log = Log
pane-recipes = Recipes
pane-layer-errors = Layer errors
pane-changed = Changed predictions
pane-confusion = Confusion
pane-export = Export
pane-checks = Checks
pane-runtimes = Runtimes
pane-graph = Graph
pane-activations = Activations
pane-preflight = Preflight
