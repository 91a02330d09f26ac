# Layers, their settings, and what is seen of the inspected one.

configure-between-sentences = { " " }
configure-no-project = No project is open
    .corrections = How layers are corrected is chosen here.
    .recipe = The active recipe is shown here as text.
configure-no-layer = No layer is selected
    .weights = Click a layer in the table to see its weights.
    .importance = Click a layer in the table to see what its weights count.
configure-being-drawn = Being drawn…

# What charts and heat maps show.
axis-top1 = Top-1 (%), measured
    .short = Top-1 (%)
axis-kl = KL to the original (nats), measured
    .short = KL (nats)
axis-weight-sqnr = Weight SQNR (dB), predicted
    .short = SQNR (dB)
layer-error-weight = Weight error
    .tooltip = Signal to noise of the weights alone, in dB
layer-error-local = Local output error
    .tooltip = Signal to noise of the layer's output when only this layer is compressed, in dB
layer-error-cumulative = Cumulative output error
    .tooltip = Signal to noise of the layer's output when everything before it is compressed too, in dB
heat-weights = Weight error (dB)
heat-loss = Loss alone (millinats)
paint-error = weight error
paint-bits = bits
paint-bytes = bytes
paint-macs = multiply-adds

# The table of layers.
grid-no-project = Open one with Ctrl+O, or drop a project's folder or an ONNX file on this window.
grid-no-layers = This model has no layer that can be compressed
    .hint = Layers are convolutions and matrix products with constant weights.
grid-none-fits = No layer fits the filter
    .hint = Clear the filter box to see all layers.
grid-filter = Filter layers
    .hint = Name, op, size>10k, sqnr<20
grid-layers =
    { $count ->
        [one] { $count } layer
       *[other] { $count } layers
    }
grid-layers-of =
    { $count ->
        [one] { $shown } of { $count } layer
       *[other] { $shown } of { $count } layers
    }
grid-selected = { $count } selected
grid-heat = What the heat map shows
grid-layer = Layer
    .tooltip = The weight's name; click to sort by it
grid-op = Op
    .tooltip = What kind of product the layer computes
grid-shape = Shape
    .tooltip = Shape of the weight
grid-weights = Weights
    .tooltip = Number of weights
grid-scheme = Scheme
    .tooltip = How weights are stored: floats, or integers (int: symmetric, uint: asymmetric)
grid-bits = Bits
    .tooltip = Bits of one weight; drag to change
grid-scales = Scales
    .tooltip = Which weights share a scale
grid-pruned = Pruned
    .tooltip = Share of the weights that is set to zero, the smallest first; drag to change
grid-inputs = Inputs
    .tooltip = How the data that the layer reads is stored
grid-correction = Correction
    .tooltip = What is done, given data, so that the layer gives what it gave before
grid-bytes = Bytes
    .tooltip = Bytes of the stored weight: codes, scales and zero points
grid-sqnr = SQNR
    .tooltip = Weight error as signal to noise, in dB: more is better
# Above the last column of the heat map, 30 points wide; the others have the number alone.
grid-eight-bits = 8 bit
grid-macs = { $count } multiply-adds per sample
grid-macs-unknown = Operations unknown: the model's sizes are open
grid-lost-channels = { $lost } of { $count } channels span fewer than { $steps } steps of the scale that all share
grid-bytes-of = { $bytes } of { $original } bytes
grid-own-correction = own
grid-correction-of = Correction of { $layer }
grid-bits-of = Bits of { $layer }
grid-scales-of = Scales of { $layer }
grid-pruned-of = Pruned share of { $layer }
grid-inputs-of = Inputs of { $layer }
# The scales of a layer: none, those of its own format, or one for so many weights.
scales-none = none
scales-own = own
scales-tensor = tensor
scales-channel = channel
scales-per-tensor = one per tensor
scales-per-channel = one per output channel
scales-per-group = one per group of { $size }
inputs-float = float
    .choice = float: as the model has them
inputs-dynamic = dynamic
    .choice = dynamic: 8 bits, range found for every batch
inputs-static = static
    .choice = static: 8 bits, range found by calibration

# The schemes that fit a layer.
picker-scheme = { $scheme }; click to choose another scheme
picker-scheme-of = Scheme of { $layer }
picker-for = For { $layer }
picker-for-layers = For { $count } layers; figures of { $layer }
picker-refused =
    { $count ->
        [one] { $count } scheme does not fit this layer
       *[other] { $count } schemes do not fit this layer
    }
picker-scheme-title = Scheme
picker-bits = Bits/weight
picker-bytes = Bytes
picker-sqnr = SQNR
picker-offer = { $scheme }: { $bits } bits per weight, { $bytes }, { $error }
picker-packed = { $offer }. Packed it takes { $bytes }, which an ONNX file cannot
family-float = Floats
    .short = floats
family-channel = Integers, one scale per channel
    .short = int channel
family-tensor = Integers, one scale per tensor
    .short = int tensor
family-group = Integers in groups of 32
    .short = int group 32
family-asymmetric = Asymmetric integers per channel
    .short = uint channel
family-asymmetric-group = Asymmetric integers in groups of 32
    .short = uint group 32
family-micro = Micro-scaled blocks (MX, NVFP4)
    .short = MX, NVFP4
family-levels = Fixed levels (NF4, powers of two)
    .short = fixed levels
family-codebook = Codebook of the layer (weight sharing)
    .short = codebook
family-channel-codebook = Codebook of each channel
    .short = channel codebook
family-vector = Codebook of vectors
    .short = vectors
family-signs = Ternary and binary, need training
    .short = signs
family-blocks = GGUF blocks
    .short = GGUF

# The inspected layer.
inspector-unfit = The active recipe does not fit this model
    .hint = Choose another recipe above; the log says why.
inspector-layer = { $kind }, { $shape } = { $count } weights
inspector-reading = Reading the weights…
inspector-scheme = Scheme
inspector-width = Width
inspector-bits = { $count } bits
inspector-float = float
inspector-pruned = Pruned
inspector-correction = Correction
# After a number.
inspector-sqnr = weight SQNR
inspector-zeros = zeros
inspector-of-bytes = of { $bytes }
inspector-one-scale = One scale for all channels
inspector-lost-channels = { $lost } of { $count } channels span fewer than { $steps } steps of the shared scale (step { $step }).
inspector-widest = The widest channel has { $most } steps, the narrowest { $least }: one scale per channel would give each its own.
inspector-drowned =
    { $count ->
        [one] { $count } keeps less than { $decibels } dB.
       *[other] { $count } keep less than { $decibels } dB.
    }
inspector-loss = What the layer loses
inspector-weights = Weights
inspector-before = before
inspector-after = after
inspector-ranges = Channel ranges
inspector-lost = lost
inspector-few-steps = { $count } steps
inspector-levels = levels of channel
inspector-levels-channel = Channel whose levels are shown
    .tooltip = Values that the format has for this output channel (in groups: for its first weights)
inspector-error = Weight error, before minus after
    .tooltip = Rows: { $rows } output channels. Columns: inputs × taps. Colors from −{ $range } to { $range }
inspector-error-here = Here: { $value }
# Beside the first row of the picture, 44 points wide.
inspector-first-output = out 0
inspector-columns = columns: inputs × taps

# What if.
what-if = What if
what-if-choice =
    { $scheme }
    { $bits } bits per weight, { $bytes }
    { $error }
what-if-bits-title = Bits
what-if-sqnr = Weight SQNR (dB)
what-if-bytes = Bytes
what-if-bits = { $count } bits
    .tooltip = Set the layer to this width
what-if-exact = exact
what-if-bits-axis = Stored bits per weight

# Small charts.
threshold = Importance of { $count }: { $below } lie below the threshold
    .tooltip = { $summary }. Drag to move it
threshold-least = least important
threshold-most = most, of { $count }
channels = Ranges of { $count } output channels from { $low } to { $high }
channels-one = Channel { $channel }: { $low } to { $high }, median { $median }
channels-steps = { $count } steps of the shared scale
histogram = Histogram of { $count } weights from { $low } to { $high }
    .tooltip = { $summary }. Counts as square roots
histogram-levels = { $summary }. Counts as square roots. Ticks: the { $count } levels of channel { $channel }, from { $low } to { $high }
waterfall-between = ;{ " " }
waterfall-kept = { $step }: error { $before } before, { $after } after, kept
waterfall-taken-back = { $step }: error { $before } before, { $after } after, taken back

# The weights, as near as one likes.
weights-sight = What is seen of the weights
weights-whole = Whole
    .tooltip = Show all weights of the layer
weights-part = { $layer }: outputs { $top } to { $bottom }, inputs × taps { $left } to { $right }
weights-dark = dark: pruned
weights-place = Output { $output }, input { $input }
weights-place-tap = Output { $output }, input { $input }, tap { $tap }
weights-values =
    before { $before }
    after { $after }
    difference { $difference }
weights-coarse = A cell shows the largest of { $rows } × { $columns } weights; scroll to come nearer

# What the weights and channels count.
importance-what-goes = What goes
importance-weights-go = Weights: { $sparsity }
importance-channels-go = Channels: { $cut }
importance-weights = Weights
importance-channels = Channels
# Between these and what they are judged by.
importance-by = by
importance-question = What makes it important
importance-running = Being found out…
importance-find-out = Find out
    .tooltip = Runs the network on the calibration data
importance-otherwise = What goes is chosen otherwise ({ $sparsity }, { $cut }): drag to choose by this.
importance-weights-below = { $below } of { $count } weights lie below the threshold and go.
importance-channels-below = { $below } of { $count } channels lie below the threshold and go.
importance-within-channels = They are compared within each output channel; the line is that of all together.
importance-tied = They belong to { $count } layers, which lose them together.
importance-shared-out = The recipe shares out what is pruned over all layers: this one's share is another in the end.
saliency-magnitude = magnitude
saliency-inputs = magnitude times inputs
saliency-surgeon = what others cannot make up for
saliency-taylor = slope of the loss
channel-score-l1 = L1 norm
channel-score-l2 = L2 norm
channel-score-batch-norm = batch-norm scale
channel-score-median = distance from the median
channel-score-activation = mean activation
channel-score-zeros = share of zeros
channel-score-taylor = Taylor expansion
channel-score-fisher = Fisher information
channel-score-stability = stability

# Corrections.
corrections-gain = Gain by step
    .hint = Signal to noise of the layer's output on samples held out, in dB. Hollow: taken back.
corrections-gain-of = Gain by step: { $layer }
corrections-gain-none = Nothing was corrected in this layer.
corrections-evaluate = Evaluate the recipe (F5): what each step gains is measured then, on samples that it does not see.
corrections-none = Nothing is corrected. Choose a level above, or one for single layers in the table.
corrections-stale = Stale
    .hint = Of the recipe and the data as they were when it was last evaluated.
corrections-all-layers = All layers
corrections-level = { $level }: { $steps }
corrections-rounding = Rounding: { $correction }.
corrections-otherwise =
    { $count ->
        [one] { $count } layer is done otherwise.
       *[other] { $count } layers are done otherwise.
    }
corrections-shares = Pruned shares
corrections-allocation = How pruning is shared out
corrections-no-data = No data
    .hint = The project has no data: layers are rounded to nearest.
corrections-weights-first = Weights first
    .tooltip = Channels are scaled in one layer and scaled back in the next, so that one scale suits all of a tensor
corrections-equalization = Equalization
corrections-channels-then = Channels then
    .tooltip = Divided where they are made, multiplied where they are read, as calibration data say
corrections-balance = Balance of channels
corrections-beside = Beside each layer
    .tooltip = A product of two thin matrices makes up for what rounding took (EoRA); it takes bytes and time
corrections-beside-nothing = nothing
corrections-beside-rank = two matrices of rank { $rank }
corrections-table = All corrected layers
corrections-table-layer = Layer
    .tooltip = The weight's name
corrections-table-steps = Steps
    .tooltip = Steps that were kept, of all
corrections-table-gain = Gain
    .tooltip = What they gained together, in dB of the layer's output
corrections-table-left = Left
    .tooltip = Squared error that is left, over the variance of the outputs
corrections-kept = { $kept } of { $count }
level-none = none
    .title = None
level-fast = fast
    .title = Fast
level-balanced = balanced
    .title = Balanced
level-best = best
    .title = Best
equalize-none = as they are
equalize-layers = equalized across layers
equalize-biases = equalized, high biases absorbed
balance-none = as they are
balance-smooth = smoothed for data, { $strength } (SmoothQuant)
balance-awq = scaled for weights (AWQ)
allocation-uniform = as asked, layer by layer
allocation-global = smallest of all layers
allocation-lamp = LAMP, relative to the layer
allocation-erk = ERK, by shapes alone

# The recipe as text.
recipe-text = Recipe as text
recipe-text-unfinished = Not yet a recipe
recipe-text-unfit = It does not fit the model
recipe-text-good = A recipe
recipe-text-preset = { $name }: a preset; what is changed becomes a copy
recipe-text-own = { $name }: changes take effect as they are written
inspect-no-weight = { $layer }: the weight is not part of the model
