# Prompts: windows over the window.

prompt-ok = 确定
prompt-cancel = 取消
prompt-choose = 选择
prompt-path = 路径
prompt-path-note = 这台机器没有文件对话框；请直接填写路径。
prompt-palette = 命令
prompt-palette-hint = 输入命令
prompt-palette-none = 没有包含这些词的命令
prompt-fork = 复制
prompt-fork-title = 复制 { $recipe }
# The name that is offered for a copy: letters, digits, spaces, dots, dashes and underscores.
prompt-fork-name = { $recipe } 副本
prompt-rename = 重命名
prompt-rename-title = 重命名 { $recipe }
prompt-recipe-name = 方案名称
prompt-close = 关闭
prompt-close-title = 关闭 Lapidary？
prompt-close-jobs = 有任务正在运行；它们将被取消，尚未完成的结果会丢失：
prompt-close-unsaved = 最近的编辑将被保存。
prompt-level-info = 信息
prompt-level-good = 完成
prompt-level-warning = 警告
prompt-level-bad = 失败

# Dialogs for files.

dialog-project = 打开项目所在的文件夹
dialog-model = 选择网络或权重文件
dialog-graph = 选择网络的计算图（ONNX）
dialog-importance = 选择重要性矩阵（GGUF 或 ggml 的旧格式文件）
dialog-new-folder = 选择新项目的文件夹
dialog-evaluation = 选择评估数据（文件夹）
dialog-calibration = 选择校准数据（文件夹）
dialog-export = 选择存放导出文件的文件夹
dialog-page = 页面另存为
dialog-models = 网络和权重
dialog-all-files = 所有文件

# Help.

help-title = 帮助
help-note = 手册随程序提供；点击链接可跳转。
help-close = 关闭帮助
help-commands = 按键和命令
help-reading = 读图
help-reading-cells = 热图的一格表示某一层在某一位宽下的情形：点击可设置该层，拖过多格可一并设置。
help-reading-marks = 实心标记是实测值，空心标记是预测值；测量之后又改动过的称为“已过时”。
help-reading-sqnr = SQNR 是以 dB 计的信噪比：每增加 6 dB，误差减半。
help-reading-bytes = 字节数是指导出文件的字节数：打包的数值、缩放因子、零点和计算图。
help-all-commands = 命令

# The manual: names of its pages.

manual-start = 入门十分钟
manual-window = 窗口
manual-formats = 数值格式
manual-activations = 激活
manual-corrections = 校正
manual-pruning = 剪枝
manual-search = 敏感度与搜索
manual-export = 导出
manual-archive = 归档
manual-glossary = 术语

# A new project.

new-project-title = 新建项目
new-project-note = 项目只引用模型和数据，不会复制它们。
new-project-model = 模型
new-project-graph = 计算图
    .hint = ONNX 文件，用于模型只有权重时
new-project-evaluation = 评估数据
    .hint = 图片文件夹、.npz、.npy 或 IDX
new-project-calibration = 校准数据
    .hint = 取自评估数据
new-project-importance = 重要性
    .hint = ggml 的重要性矩阵（如果有）
new-project-folder = 项目文件夹
new-project-browse = 浏览…
new-project-pictures = 图片预处理
new-project-resize = 缩放
    .hint = 短边
new-project-crop = 裁剪
    .hint = 取中间部分
new-project-channels = 通道
new-project-channels-model = 按模型要求
new-project-channels-rgb = 红、绿、蓝
new-project-channels-bgr = 蓝、绿、红
new-project-channels-gray = 灰度
new-project-scale = 除以
new-project-mean = 均值
new-project-deviation = 标准差
new-project-label-offset = 类别编号偏移
    .hint = 0
new-project-layout = 排布
new-project-layout-nchw = 通道在前（nchw）
new-project-layout-nhwc = 通道在后（nhwc）
new-project-limit = 最多样本数
    .hint = 全部
new-project-make = 建立项目
new-project-look = 仅查看
    .tooltip = 直接打开模型，不询问项目放在哪里：项目存放在系统缓存中
new-project-no-model = 请选择模型：ONNX 网络，或者权重文件。
new-project-no-number = { $field }：“{ $text }”不是合适的数字。
new-project-no-numbers = { $field }：“{ $text }”不是数字；请为每个通道各写一个，以半角逗号分隔。

# A search.

search-title = 搜索方案
search-start = 搜索
search-base = 从 { $recipe } 出发：采用 { $scheme } 及其输入设置，为每一层选择位宽。
search-limit = 必须满足的限制
# Before the field of a size.
search-size = 损失最小，大小不超过
    .field = 文件大小
search-size-units = 原文件的比例（15 %），或字节数（120 KB）
# Before the field of points of accuracy; then the words before and after the field of a confidence.
search-loss = 文件最小，损失不超过
    .field = 损失的百分点
search-loss-with = 个百分点，置信度
search-loss-confidence = %
    .field = 置信度（百分比）
search-choices = 可供选择的位宽
search-bits = { $bits } 位
search-choices-note = 任何一层也可以保持原样。较窄的位宽会同时尝试对称和非对称网格。
search-end = 何时停止
# After [120] measured plans, or [60] seconds, or when nothing makes it better.
search-after = 测量
search-after-plans = 个组合之后，或经过
    .field = 测量的组合数
search-after-seconds = 秒之后，或不再有改进时停止。
    .field = 秒数
search-fast = 估计各层损失而不实际测量（更快，但较粗略）
search-samples = 校准样本用来判断各层的损失，一部分评估样本用来选择，其余样本给出最终数值。
search-field-size = 大小
search-field-points = 百分点
search-field-confidence = 置信度
search-field-plans = 组合数
search-field-seconds = 秒数
search-no-number = { $field }：“{ $text }”不是 { $low } 到 { $high } 之间的数字。
search-no-size = 大小：“{ $text }”既不是比例（15 %），也不是大小（120 KB）。
search-no-width = 请至少选择一种位宽。
search-balanced = 该方案包含通道的平衡，而搜索不做这种平衡：请先把它去掉。

prompt-moved-model = 项目的模型不在原来的位置
prompt-moved-graph = 项目权重所属的网络不在原来的位置
prompt-moved-importance = 重要性文件不在原来的位置
prompt-moved-was = 它原来在这里：
prompt-moved-same = 这里有一个名称和内容都相同的文件：
prompt-moved-other = 这里有一个名称相同但内容不同的文件；旧文件的测量结果将会过时：
prompt-moved-use = 使用它
prompt-moved-choose = 选择文件…
prompt-elsewhere-title = 项目已在另一个窗口中打开
prompt-elsewhere = 两个窗口中一个保存的内容会覆盖另一个保存的内容。
prompt-elsewhere-stay = 在这里继续
prompt-elsewhere-leave = 在这里关闭
dialog-moved = 文件现在在哪里？
new-project-imagenet = 按多数照片网络的惯例
    .tooltip = 除以 255，再用上方灰色显示的 ImageNet 均值和标准差
prompt-moved-unknown = 这里有一个名称相同的文件：

# Other data for a project.
prompt-data-title = 项目的数据
prompt-data-note = 在其他数据上测得的结果会保留，并显示为已过时。
prompt-data-use = 使用这些数据
prompt-data-waiting = 正在检查是否匹配…
prompt-data-field = “{ $name }”
