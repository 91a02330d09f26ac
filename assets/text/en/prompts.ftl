# Prompts: windows over the window.

prompt-ok = OK
prompt-cancel = Cancel
prompt-choose = Choose
prompt-path = Path
prompt-path-note = This machine has no file dialogs; write the path.
prompt-palette = Command
prompt-palette-hint = Type a command
prompt-palette-none = No command has these words
prompt-fork = Fork
prompt-fork-title = Fork { $recipe }
# The name that is offered for a copy: letters, digits, spaces, dots, dashes and underscores.
prompt-fork-name = { $recipe } copy
prompt-rename = Rename
prompt-rename-title = Rename { $recipe }
prompt-recipe-name = Name of the recipe
prompt-close = Close
prompt-close-title = Close Lapidary?
prompt-close-jobs = Jobs are running; they will be cancelled, and what they have not finished is lost:
prompt-close-unsaved = The last edits will be saved.
prompt-level-info = Information
prompt-level-good = Done
prompt-level-warning = Warning
prompt-level-bad = Failed

# Dialogs for files.

dialog-project = Open a project's folder
dialog-model = Choose a network or a file of weights
dialog-graph = Choose the network's graph (ONNX)
dialog-importance = Choose an importance matrix (GGUF or ggml's older file)
dialog-new-folder = Choose the new project's folder
dialog-evaluation = Choose evaluation data (a folder)
dialog-calibration = Choose calibration data (a folder)
dialog-export = Choose the folder for exported files
dialog-page = Write the page as
dialog-models = Networks and weights
dialog-all-files = All files

# Help.

help-title = Help
help-note = The manual comes with the program; links lead on.
help-close = Close help
help-commands = Keys and commands
help-reading = Reading
help-reading-cells = A cell of the heat map is a layer at a width: click it to set the layer, draw over several to set them all.
help-reading-marks = Filled marks are measured, hollow marks are predicted; what was changed since it was measured is called stale.
help-reading-sqnr = SQNR is signal to noise in dB: six dB more halve the error.
help-reading-bytes = Bytes are bytes of the exported file: packed values, scales, zero points, graph.
help-all-commands = Commands

# The manual: names of its pages.

manual-start = First ten minutes
manual-window = The window
manual-formats = Number formats
manual-activations = Activations
manual-corrections = Corrections
manual-pruning = Pruning
manual-search = Sensitivity and search
manual-export = Export
manual-archive = Archives
manual-glossary = Words

# A new project.

new-project-title = New project
new-project-note = A project refers to its model and data; it copies neither.
new-project-model = Model
new-project-graph = Graph
    .hint = an ONNX file, where the model is weights alone
new-project-evaluation = Evaluation data
    .hint = pictures in folders, .npz, .npy, IDX
new-project-calibration = Calibration data
    .hint = part of the evaluation data
new-project-importance = Importance
    .hint = an importance matrix of ggml's, if there is one
new-project-folder = Project folder
new-project-browse = Browse…
new-project-pictures = How pictures are prepared
new-project-resize = Resize
    .hint = shorter side
new-project-crop = Crop
    .hint = of the middle
new-project-channels = Channels
new-project-channels-model = as the model asks
new-project-channels-rgb = red, green, blue
new-project-channels-bgr = blue, green, red
new-project-channels-gray = gray
new-project-scale = Divide by
new-project-mean = Mean
new-project-deviation = Deviation
new-project-label-offset = Add to class
    .hint = 0
new-project-layout = Layout
new-project-layout-nchw = channels first (nchw)
new-project-layout-nhwc = channels last (nhwc)
new-project-limit = At most
    .hint = all samples
new-project-make = Make project
new-project-look = Only look at it
    .tooltip = Opens the model without asking where its project goes: it lies in the system's cache
new-project-no-model = Choose a model: an ONNX network, or a file of weights.
new-project-no-number = { $field }: "{ $text }" is no number that fits.
new-project-no-numbers = { $field }: "{ $text }" is no number; write one per channel, with commas between.

# A search.

search-title = Search for a recipe
search-start = Search
search-base = Starts from { $recipe }: { $scheme } and its inputs' settings, a width for each layer.
search-limit = What it must keep to
# Before the field of a size.
search-size = The least loss in at most
    .field = Size of the file
search-size-units = of the original (15 %), or bytes (120 KB)
# Before the field of points of accuracy; then the words before and after the field of a confidence.
search-loss = The smallest that loses at most
    .field = Points lost
search-loss-with = points, with
search-loss-confidence = % confidence
    .field = Confidence in percent
search-choices = What it may choose from
search-bits = { $bits } bits
search-choices-note = Any layer may also stay as it is. Narrow ones are tried on symmetric and asymmetric grids.
search-end = When it stops
# After [120] measured plans, or [60] seconds, or when nothing makes it better.
search-after = After
search-after-plans = measured plans, or
    .field = Plans measured
search-after-seconds = seconds, or when nothing makes it better.
    .field = Seconds
search-fast = Estimate what layers lose instead of measuring it (faster, coarser)
search-samples = Calibration samples tell what layers lose, a part of the evaluation samples chooses, the rest gives the numbers.
search-field-size = Size
search-field-points = Points
search-field-confidence = Confidence
search-field-plans = Plans
search-field-seconds = Seconds
search-no-number = { $field }: "{ $text }" is no number from { $low } to { $high }.
search-no-size = Size: "{ $text }" is neither a share (15 %) nor a size (120 KB).
search-no-width = Choose a width at least.
search-balanced = The recipe balances channels, which a search does not: leave that out of it first.

prompt-moved-model = The project's model is not where it was
prompt-moved-graph = The network of the project's weights is not where it was
prompt-moved-importance = The file of importances is not where it was
prompt-moved-was = It was here:
prompt-moved-same = A file of that name and with the same content is here:
prompt-moved-other = A file of that name, but with other content, is here; what was measured of the old one will be stale:
prompt-moved-use = Use it
prompt-moved-choose = Choose the file…
prompt-elsewhere-title = The project is open in another window
prompt-elsewhere = What one of the two saves replaces what the other has saved.
prompt-elsewhere-stay = Go on here
prompt-elsewhere-leave = Close it here
dialog-moved = Where is the file now?
new-project-imagenet = As most networks for photos
    .tooltip = Divide by 255, then take ImageNet's mean and deviation, shown in gray above
prompt-moved-unknown = A file of that name is here:

# Other data for a project.
prompt-data-title = Data of the project
prompt-data-note = What was measured on other data stays, and is shown as stale.
prompt-data-use = Use this data
prompt-data-waiting = Looking whether all fits …
prompt-data-field = “{ $name }”
