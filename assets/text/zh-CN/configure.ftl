# Layers, their settings, and what is seen of the inspected one.

configure-between-sentences = { "" }
configure-no-project = 没有打开的项目
    .corrections = 在这里选择如何校正各层。
    .recipe = 当前方案以文本形式显示在这里。
configure-no-layer = 没有选中任何层
    .weights = 在表格中点击一层，查看它的权重。
    .importance = 在表格中点击一层，查看其权重的重要性。
configure-being-drawn = 正在绘制…

# What charts and heat maps show.
axis-top1 = Top-1（%），实测
    .short = Top-1（%）
axis-kl = 与原模型的 KL（nat），实测
    .short = KL（nat）
axis-weight-sqnr = 权重 SQNR（dB），预测
    .short = SQNR（dB）
layer-error-weight = 权重误差
    .tooltip = 仅权重的信噪比，以 dB 计
layer-error-local = 局部输出误差
    .tooltip = 只压缩这一层时该层输出的信噪比，以 dB 计
layer-error-cumulative = 累积输出误差
    .tooltip = 该层之前的部分也都压缩时该层输出的信噪比，以 dB 计
heat-weights = 权重误差（dB）
heat-loss = 单独损失（毫 nat）
paint-error = 权重误差
paint-bits = 位宽
paint-bytes = 字节数
paint-macs = 乘加次数

# The table of layers.
grid-no-project = 按 Ctrl+O 打开一个项目，或者把项目文件夹或 ONNX 文件拖到此窗口中。
grid-no-layers = 此模型没有可以压缩的层
    .hint = 这里的层是指权重为常量的卷积和矩阵乘法。
grid-none-fits = 没有符合筛选条件的层
    .hint = 清空筛选框即可看到所有层。
grid-filter = 筛选层
    .hint = 名称、算子、size>10k、sqnr<20
grid-layers = { $count } 层
grid-layers-of = { $count } 层中的 { $shown } 层
grid-selected = 已选 { $count } 层
grid-heat = 热图显示的内容
grid-layer = 层
    .tooltip = 权重的名称；点击可按名称排序
grid-op = 算子
    .tooltip = 该层计算哪一种乘法
grid-shape = 形状
    .tooltip = 权重的形状
grid-weights = 权重
    .tooltip = 权重的个数
grid-scheme = 格式
    .tooltip = 权重的存储格式：浮点数，或整数（int：对称，uint：非对称）
grid-bits = 位宽
    .tooltip = 每个权重的位数；拖动可更改
grid-scales = 缩放因子
    .tooltip = 哪些权重共用一个缩放因子
grid-pruned = 剪枝
    .tooltip = 置零权重的比例，从最小的开始；拖动可更改
grid-inputs = 输入
    .tooltip = 该层读取的数据如何存储
grid-correction = 校正
    .tooltip = 借助数据做哪些处理，使该层的输出与原来一致
grid-bytes = 字节
    .tooltip = 所存权重的字节数：码值、缩放因子和零点
grid-sqnr = SQNR
    .tooltip = 以信噪比表示的权重误差，单位 dB：越大越好
# Above the last column of the heat map, 30 points wide; the others have the number alone.
grid-eight-bits = 8 位
grid-macs = 每个样本 { $count } 次乘加
grid-macs-unknown = 运算量未知：模型的尺寸未定
grid-lost-channels = { $count } 个通道中有 { $lost } 个的取值范围不足共用缩放因子的 { $steps } 个步长
grid-bytes-of = { $bytes } 字节，原为 { $original } 字节
grid-own-correction = 自定
grid-correction-of = { $layer } 的校正
grid-bits-of = { $layer } 的位宽
grid-scales-of = { $layer } 的缩放因子
grid-pruned-of = { $layer } 的剪枝比例
grid-inputs-of = { $layer } 的输入
# The scales of a layer: none, those of its own format, or one for so many weights.
scales-none = 无
scales-own = 自带
scales-tensor = 张量
scales-channel = 通道
scales-per-tensor = 每个张量一个
scales-per-channel = 每个输出通道一个
scales-per-group = 每组 { $size } 个权重一个
inputs-float = 浮点
    .choice = 浮点：与模型中相同
inputs-dynamic = 动态
    .choice = 动态：8 位，每批数据各自求取值范围
inputs-static = 静态
    .choice = 静态：8 位，由校准求取值范围

# The schemes that fit a layer.
picker-scheme = { $scheme }；点击可选择其他格式
picker-scheme-of = { $layer } 的格式
picker-for = 用于 { $layer }
picker-for-layers = 用于 { $count } 层；数值属于 { $layer }
picker-refused = { $count } 种格式不适用于此层
picker-scheme-title = 格式
picker-bits = 位/权重
picker-bytes = 字节
picker-sqnr = SQNR
picker-offer = { $scheme }：每个权重 { $bits } 位，{ $bytes }，{ $error }
picker-packed = { $offer }。紧凑存储只需 { $bytes }，但 ONNX 文件做不到
family-float = 浮点数
    .short = 浮点
family-channel = 整数，每个通道一个缩放因子
    .short = int 按通道
family-tensor = 整数，每个张量一个缩放因子
    .short = int 按张量
family-group = 整数，每组 32 个
    .short = int 每组 32
family-asymmetric = 非对称整数，按通道
    .short = uint 按通道
family-asymmetric-group = 非对称整数，每组 32 个
    .short = uint 每组 32
family-micro = 微缩放块（MX、NVFP4）
    .short = MX、NVFP4
family-levels = 固定量化值（NF4、2 的幂）
    .short = 固定量化值
family-codebook = 整层共用的码本（权重共享）
    .short = 码本
family-channel-codebook = 每个通道各有码本
    .short = 通道码本
family-vector = 向量码本
    .short = 向量
family-signs = 三值与二值，需要训练
    .short = 符号
family-blocks = GGUF 块
    .short = GGUF

# The inspected layer.
inspector-unfit = 当前方案不适用于此模型
    .hint = 请在上方选择其他方案；原因见日志。
inspector-layer = { $kind }，{ $shape } = { $count } 个权重
inspector-reading = 正在读取权重…
inspector-scheme = 格式
inspector-width = 位宽
inspector-bits = { $count } 位
inspector-float = 浮点
inspector-pruned = 剪枝
inspector-correction = 校正
# After a number.
inspector-sqnr = 权重 SQNR
inspector-zeros = 为零
inspector-of-bytes = 原为 { $bytes }
inspector-one-scale = 所有通道共用一个缩放因子
inspector-lost-channels = { $count } 个通道中有 { $lost } 个的取值范围不足共用缩放因子的 { $steps } 个步长（步长 { $step }）。
inspector-widest = 最宽的通道有 { $most } 个步长，最窄的只有 { $least } 个：改为每个通道一个缩放因子，各通道就都有自己的步长。
inspector-drowned = { $count } 个通道的信噪比低于 { $decibels } dB。
inspector-loss = 该层的损失
inspector-weights = 权重
inspector-before = 压缩前
inspector-after = 压缩后
inspector-ranges = 通道取值范围
inspector-lost = 已丢失
inspector-few-steps = { $count } 个步长
inspector-levels = 量化值所属通道
inspector-levels-channel = 显示哪个通道的量化值
    .tooltip = 该格式在此输出通道上可取的值（分组时：其最前面一组权重的值）
inspector-error = 权重误差：压缩前减压缩后
    .tooltip = 行：{ $rows } 个输出通道。列：输入 × 核位置。颜色从 −{ $range } 到 { $range }
inspector-error-here = 此处：{ $value }
# Beside the first row of the picture, 44 points wide.
inspector-first-output = 输出 0
inspector-columns = 列：输入 × 核位置

# What if.
what-if = 如果改用
what-if-choice =
    { $scheme }
    每个权重 { $bits } 位，{ $bytes }
    { $error }
what-if-bits-title = 位宽
what-if-sqnr = 权重 SQNR（dB）
what-if-bytes = 字节
what-if-bits = { $count } 位
    .tooltip = 把该层设为此位宽
what-if-exact = 精确
what-if-bits-axis = 每个权重的存储位数

# Small charts.
threshold = { $count } 个的重要性：{ $below } 个低于阈值
    .tooltip = { $summary }。拖动可移动阈值
threshold-least = 最不重要
threshold-most = 最重要，共 { $count } 个
channels = { $count } 个输出通道的取值范围，从 { $low } 到 { $high }
channels-one = 通道 { $channel }：{ $low } 到 { $high }，中位数 { $median }
channels-steps = 共用缩放因子的 { $count } 个步长
histogram = { $count } 个权重的直方图，从 { $low } 到 { $high }
    .tooltip = { $summary }。计数以平方根表示
histogram-levels = { $summary }。计数以平方根表示。刻度：通道 { $channel } 的 { $count } 个量化值，从 { $low } 到 { $high }
waterfall-between = ；
waterfall-kept = { $step }：误差之前 { $before }，之后 { $after }，保留
waterfall-taken-back = { $step }：误差之前 { $before }，之后 { $after }，已撤回

# The weights, as near as one likes.
weights-sight = 查看权重的哪一方面
weights-whole = 全部
    .tooltip = 显示该层的所有权重
weights-part = { $layer }：输出 { $top } 到 { $bottom }，输入 × 核位置 { $left } 到 { $right }
weights-dark = 深色：已剪枝
weights-place = 输出 { $output }，输入 { $input }
weights-place-tap = 输出 { $output }，输入 { $input }，核位置 { $tap }
weights-values =
    压缩前 { $before }
    压缩后 { $after }
    差 { $difference }
weights-coarse = 每格显示 { $rows } × { $columns } 个权重中最大的一个；滚动可放大

# What the weights and channels count.
importance-what-goes = 去掉什么
importance-weights-go = 权重：{ $sparsity }
importance-channels-go = 通道：{ $cut }
importance-weights = 权重
importance-channels = 通道
# Between these and what they are judged by.
importance-by = 依据
importance-question = 重要性的依据
importance-running = 正在计算…
importance-find-out = 计算
    .tooltip = 在校准数据上运行网络
importance-otherwise = 去掉什么目前由其他依据决定（{ $sparsity }，{ $cut }）：拖动即可改用此依据。
importance-weights-below = { $count } 个权重中有 { $below } 个低于阈值，将被去掉。
importance-channels-below = { $count } 个通道中有 { $below } 个低于阈值，将被去掉。
importance-within-channels = 权重在各输出通道内部比较；图中的线是合在一起时的阈值。
importance-tied = 这些通道属于 { $count } 层，各层会一起失去它们。
importance-shared-out = 方案把剪枝量分配到所有层：这一层最终的比例会有所不同。
saliency-magnitude = 幅值
saliency-inputs = 幅值乘以输入
saliency-surgeon = 其他权重无法弥补的部分
saliency-taylor = 损失的斜率
channel-score-l1 = L1 范数
channel-score-l2 = L2 范数
channel-score-batch-norm = 批归一化缩放系数
channel-score-median = 与中位数的距离
channel-score-activation = 平均激活
channel-score-zeros = 零的比例
channel-score-taylor = 泰勒展开
channel-score-fisher = Fisher 信息
channel-score-stability = 稳定性

# Corrections.
corrections-gain = 各步增益
    .hint = 该层输出在留出样本上的信噪比，以 dB 计。空心：已撤回。
corrections-gain-of = 各步增益：{ $layer }
corrections-gain-none = 这一层没有做校正。
corrections-evaluate = 请评估方案（F5）：届时会在各步没有见过的样本上测量每一步的增益。
corrections-none = 没有做任何校正。请在上方选择一个级别，或在表格中为单个层选择。
corrections-stale = 已过时
    .hint = 对应上次评估时的方案和数据。
corrections-all-layers = 所有层
corrections-level = { $level }：{ $steps }
corrections-rounding = 舍入：{ $correction }。
corrections-otherwise = { $count } 层另行处理。
corrections-shares = 剪枝比例
corrections-allocation = 剪枝量如何分配
corrections-no-data = 没有数据
    .hint = 项目没有数据：各层按就近舍入。
corrections-weights-first = 首先对权重
    .tooltip = 在一层中缩放通道，在下一层中缩放回来，使一个缩放因子适合整个张量
corrections-equalization = 均衡化
corrections-channels-then = 然后对通道
    .tooltip = 在产生通道的地方除，在读取通道的地方乘，系数由校准数据决定
corrections-balance = 通道的平衡
corrections-beside = 每层旁边
    .tooltip = 用两个细长矩阵的乘积补偿舍入造成的损失（EoRA）；会占用字节和时间
corrections-beside-nothing = 无
corrections-beside-rank = 两个秩为 { $rank } 的矩阵
corrections-table = 所有校正过的层
corrections-table-layer = 层
    .tooltip = 权重的名称
corrections-table-steps = 步骤
    .tooltip = 保留的步骤数与总步骤数
corrections-table-gain = 增益
    .tooltip = 各步合计的增益，以该层输出的 dB 计
corrections-table-left = 剩余
    .tooltip = 剩余的平方误差与输出方差之比
corrections-kept = { $kept } / { $count }
level-none = 无
    .title = 无
level-fast = 快速
    .title = 快速
level-balanced = 均衡
    .title = 均衡
level-best = 最佳
    .title = 最佳
equalize-none = 保持原样
equalize-layers = 跨层均衡化
equalize-biases = 跨层均衡化，并吸收过大的偏置
balance-none = 保持原样
balance-smooth = 为数据平滑，{ $strength }（SmoothQuant）
balance-awq = 为权重缩放（AWQ）
allocation-uniform = 按要求，逐层
allocation-global = 所有层中最小的
allocation-lamp = LAMP，相对于所在的层
allocation-erk = ERK，仅按形状

# The recipe as text.
recipe-text = 方案的文本
recipe-text-unfinished = 还不是有效的方案
recipe-text-unfit = 不适用于此模型
recipe-text-good = 有效的方案
recipe-text-preset = { $name }：预设；更改会成为副本
recipe-text-own = { $name }：更改随写随生效
inspect-no-weight = { $layer }：权重不在模型中
