# What a layer gives for a sample.

maps-none = 没有选择层
    .hint = 在表格中点击一层，查看它对一个样本的输出。
maps-no-data = 没有可以运行网络的数据
    .hint = 有计算图和评估数据的项目会在这里显示每一层对一个样本的输出。
maps-sample = 样本
    .tooltip = 评估数据中的哪个样本：拖动，或点击后输入编号
maps-of = { $layer } 的输出，按 { $recipe } 压缩
maps-failed = 无法显示
maps-running = 网络正在运行…
    .hint = 正在构建方案，并让一个样本通过两个网络。
maps-first = { $channels } 个通道中的前 { $shown } 个
maps-before = 压缩前
maps-after = 压缩后
maps-difference = 压缩前减压缩后
maps-value =
    通道 { $channel }，行 { $row }，列 { $column }
    压缩前 { $before }
    压缩后 { $after }
    差 { $difference }
maps-stopped = 没有正在运行的任务
    .hint = 请选择其他层或样本。
