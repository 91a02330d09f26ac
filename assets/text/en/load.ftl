# Load: the model and its data.

load-start = Start
load-start-hint = Load a network, choose how each layer is stored, and see what it costs.
load-drop = Drop a network, a file of weights or a project's folder on this window
load-recent = Recent projects

load-project = Project
load-folder = Folder
load-run = Run
load-run-empty = nothing
load-reports = Reports

load-file = File
load-format = Format
load-format-value = { $format }, opset { $opset }
load-bytes = Bytes
load-bytes-value = { $size } ({ $bytes } bytes)
load-parameters = Parameters
load-nodes = Nodes
load-nodes-value = { $nodes }, { $folded } after batch norm was folded
load-layers = Layers
load-layers-value = { $count } that can be compressed
load-macs = Multiply-adds
load-macs-unknown = unknown: sizes are open
load-macs-value = { $count } per sample
load-input = Input
load-output = Output
load-any-type = any type
load-any-shape = any shape
load-kinds = Layers by kind

load-no-project = No project is open
    .hint = A project's data is shown here.
load-no-graph = These are weights without a network
    .hint = What is not run needs no data. With the ONNX file as its graph (Ctrl+N) it can be measured.
load-no-data = This project has no data
    .hint = Choose a folder of pictures or an array of samples.
load-data = Data
load-evaluation = Evaluation
load-calibration = Calibration
load-held-out-none = the evaluation data itself: there is too little to keep any out
load-held-out = { $step ->
        [2] every second sample of the evaluation data, kept out of the evaluation
        [3] every third sample of the evaluation data, kept out of the evaluation
       *[other] every { $step }th sample of the evaluation data, kept out of the evaluation
    }
load-samples = Samples
load-samples-value = { $classes ->
        [one] { $samples } in { $classes } class
       *[other] { $samples } in { $classes } classes
    }
load-samples-wait = Being read…
load-sample = Sample { $number }
load-no-label = no label

# What is done to a sample before the network sees it.
load-preprocessing = Preprocessing, in this order
load-step-no = no
load-step-nothing = nothing
load-resize = Resize
load-resize-value = shorter side to { $side } pixels
load-crop = Crop
load-crop-value = { $side } × { $side } pixels of the middle
load-channels = Channels
load-channels-rgb = red, green, blue
load-channels-bgr = blue, green, red
load-channels-gray = gray
load-channels-asked = as the model's input asks
load-divide = Divide by
load-subtract = Subtract
load-layout = Layout
load-layout-nchw = channels first
load-layout-nhwc = channels last
load-labels = Labels
load-labels-value = { $offset } to each
