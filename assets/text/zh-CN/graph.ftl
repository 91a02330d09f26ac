# Graph: the network as a drawing; pieces that panels share; jobs and the log; what an open project knows.

graph-no-project = 没有打开的项目
    .hint = 网络绘制在这里。
graph-none = 没有可绘制的网络
    .hint = 该文件只有权重。请用网络的 ONNX 文件新建项目，即可看到计算图。
graph-failed = 无法绘制网络
graph-wait = 正在绘制…
graph-name = 网络有 { $nodes } 个节点，绘制为 { $boxes } 个方框
graph-find = 查找节点
graph-found = 找到 { $count } 个；按 Enter 转到下一个
graph-fit = 适合窗口
    .tooltip = 显示整个网络
graph-open = 全部展开
    .tooltip = 展开每个块
graph-close = 全部折叠
    .tooltip = 折叠每个块；双击可展开一个
graph-color = 颜色
graph-color-name = 方框按什么着色
graph-color-bits = { $bits } 位
graph-color-most = 至 { $amount }
graph-input = 输入
graph-output = 输出
graph-block = { $count } 个节点
graph-box = { $kind }：{ $name }
graph-reads = 读入 { $shape }
graph-gives = 给出 { $shape }
graph-layer = { $layer }：{ $scheme }，{ $size }
graph-layer-scored = { $layer }：{ $scheme }，{ $size }，{ $error }
graph-hint-open = 双击：展开
graph-hint-close = 双击：折叠它所在的块

# Pieces that panels share.
widgets-shortcut = { $tooltip }（{ $shortcut }）
widgets-disabled = { $tooltip }。{ $needs }
widgets-legend-weights = 权重误差的颜色：从 45 dB 以上（几乎没有）到 0 dB（与权重一样大）
widgets-legend-loss = 损失的颜色：从 0.03 毫 nat（几乎没有）到 1 nat
widgets-heat-cell = { $layer }，{ $bits } 位：{ $error }
widgets-heat-unknown = 尚不清楚
widgets-heat-loses = 损失 { $loss }
widgets-heat-not-finite = 输出不是有限值
pictures-before = 压缩前
pictures-after = 压缩后
pictures-difference = 压缩前减压缩后
pictures-kept = 保留的权重
pictures-class = 类别 { $number }

# Jobs and the log.
jobs-none = 没有正在运行的任务
    .hint = F5 评估当前方案。
jobs-cancel = 取消
jobs-cancel-name = 取消 { $job }
jobs-waiting = 正在排队
jobs-cancelling = 正在取消…
jobs-starting = 正在启动
jobs-stage = { $stage }，{ $done } / { $total }
jobs-left = { $stage }，剩余 { $time }
log-none = 没有可报告的内容
    .hint = 这里列出警告和结果。
log-lines = { $count } 行
log-clear = 清空
log-line = { $subject }：{ $message }
log-show = 显示此层
log-information = 信息
log-done = 完成
log-warning = 警告
log-failed = 失败

# What an open project knows: ties between layers, and what layers lose.
bench-tie-projections = { $count } 层读取相同的数据，采用同一种处理
bench-tie-sums = { $count } 层在加法处汇合：它们的数据共用一个范围
bench-tie-channels = { $count } 层去掉相同的通道：{ $all } 个中保留 { $kept } 个
losses-within = { $loss }（± { $error }）
losses-why = 目前单独压缩此层损失 { $loss }：在 { $layers } 层中排第 { $place }，基于 { $samples } 个样本。
losses-why-not-finite = 单独压缩此层，网络的输出就不再是有限值。
losses-why-narrower = 用 { $bits } 位可省 { $size }，损失 { $loss }。
losses-why-wider = 用 { $bits } 位要多占 { $size }，损失 { $loss }。
losses-why-between = { "" }
