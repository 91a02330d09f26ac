# The bar at the top and the stages below it.

menu-file = File
menu-edit = Edit
menu-recipe = Recipe
menu-run = Run
menu-view = View
menu-recent = Recent projects

top-undo = Undo: { $edit }
top-redo = Redo: { $edit }
top-recipe = Recipe
top-active-recipe = Active recipe
    .tooltip = The recipe that is edited
top-recipe-menu = Recipe menu
    .tooltip = Fork, rename or delete the recipe
top-nats = { $value } nats
top-stale = { $value } (stale)
top-kl = KL
top-accuracy = Top-1
top-measured =
    { $count ->
        [one] Measured on { $count } prediction; in brackets the change of top-1 against the original in points
       *[other] Measured on { $count } predictions; in brackets the change of top-1 against the original in points
    }
top-not-measured = not measured
top-weights = Weights
    .tooltip = Predicted weight SQNR: of the layers' relative errors the mean, in dB
top-size = Size
    .tooltip = { $bytes } bytes on disk, of { $original } in the original
top-idle = Nothing runs
top-job =
    { $title }
    { $step }
top-cancelling =
    Cancelling… { $title }
    { $step }
top-jobs =
    { $count ->
        [one] { $count } job
       *[other] { $count } jobs
    }

top-stages = Stages
# A stage, how far it is, and what it is.
stage-said = { $name }: { $state }. { $words }
stage-is-to-do = to do
stage-is-running = running
stage-is-stale = stale
stage-is-done = done
stage-is-not-needed = not needed
stage-load = Load
    .tooltip = The model and its data
stage-configure = Configure
    .tooltip = What happens to each layer
stage-calibrate = Calibrate
    .tooltip = Ranges of the layers' inputs, found when the recipe is evaluated
stage-compress = Compress
    .tooltip = The compressed model, built when the recipe is evaluated
stage-evaluate = Evaluate
    .tooltip = F5 measures the active recipe
stage-compare = Compare
    .tooltip =
        { $count ->
            [one] { $count } recipe is measured as it is now
           *[other] { $count } recipes are measured as they are now
        }
stage-export = Export
    .tooltip = Ctrl+E writes the model

# Groups of presets.
presets-common = Common
presets-data = Data as integers
presets-integers = Integer weights
presets-corrected = Corrected on calibration data
presets-floats = Floats and micro-scaled blocks
presets-pruning = Pruning
presets-codebooks = Codebooks
presets-signs = Signs, need training
presets-gguf = GGUF blocks
