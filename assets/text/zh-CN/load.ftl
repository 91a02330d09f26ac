# Load: the model and its data.

load-start = 开始
load-start-hint = 载入一个网络，选择每一层的存储方式，看看代价如何。
load-drop = 把网络、权重文件或项目文件夹拖放到此窗口
load-recent = 最近的项目

load-project = 项目
load-folder = 文件夹
load-run = 评估列表
load-run-empty = 空
load-reports = 报告

load-file = 文件
load-format = 格式
load-format-value = { $format }，opset { $opset }
load-bytes = 大小
load-bytes-value = { $size }（{ $bytes } 字节）
load-parameters = 参数
load-nodes = 节点
load-nodes-value = { $nodes } 个，折叠批归一化后 { $folded } 个
load-layers = 层
load-layers-value = 可压缩的有 { $count } 层
load-macs = 乘加运算
load-macs-unknown = 未知：尺寸未定
load-macs-value = 每个样本 { $count } 次
load-input = 输入
load-output = 输出
load-any-type = 任意类型
load-any-shape = 任意形状
load-kinds = 各类层

load-no-project = 没有打开的项目
    .hint = 这里显示项目的数据。
load-no-graph = 这里只有权重，没有网络
    .hint = 不运行就不需要数据。请以网络的 ONNX 文件作为计算图新建项目（Ctrl+N），即可测量。
load-no-data = 此项目没有数据
    .hint = 请选择图片文件夹或样本数组。
load-data = 数据
load-evaluation = 评估
load-calibration = 校准
load-held-out-none = 就是评估数据：数据太少，无法留出
load-held-out = 评估数据中每 { $step } 个样本留出 1 个，不参与评估
load-samples = 样本
load-samples-value = { $samples } 个，{ $classes } 个类别
load-samples-wait = 正在读取…
load-sample = 样本 { $number }
load-no-label = 无标签

# What is done to a sample before the network sees it.
load-preprocessing = 预处理（按此顺序）
load-step-no = 否
load-step-nothing = 无
load-resize = 缩放
load-resize-value = 短边缩放到 { $side } 像素
load-crop = 裁剪
load-crop-value = 居中裁取 { $side } × { $side } 像素
load-channels = 通道
load-channels-rgb = 红、绿、蓝
load-channels-bgr = 蓝、绿、红
load-channels-gray = 灰度
load-channels-asked = 按模型输入的要求
load-divide = 除以
load-subtract = 减去
load-layout = 排布
load-layout-nchw = 通道在前
load-layout-nhwc = 通道在后
load-labels = 标签
load-labels-value = 各加 { $offset }
