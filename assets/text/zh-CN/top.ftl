# The bar at the top and the stages below it.

menu-file = 文件
menu-edit = 编辑
menu-recipe = 方案
menu-run = 运行
menu-view = 视图
menu-recent = 最近的项目

top-undo = 撤销：{ $edit }
top-redo = 重做：{ $edit }
top-recipe = 方案
top-active-recipe = 当前方案
    .tooltip = 正在编辑的方案
top-recipe-menu = 方案菜单
    .tooltip = 复制、重命名或删除方案
top-nats = { $value } nat
top-stale = { $value }（已过时）
top-kl = KL
top-accuracy = Top-1
top-measured = 在 { $count } 次预测上实测；括号中是 Top-1 相对于原模型的变化，单位为百分点
top-not-measured = 未测量
top-weights = 权重
    .tooltip = 权重 SQNR 的预测值：各层相对误差的平均，以 dB 计
top-size = 大小
    .tooltip = 磁盘上 { $bytes } 字节，原模型为 { $original } 字节
top-idle = 没有任务在运行
top-job =
    { $title }
    { $step }
top-cancelling =
    正在取消… { $title }
    { $step }
top-jobs = { $count } 个任务

top-stages = 阶段
# A stage, how far it is, and what it is.
stage-said = { $name }：{ $state }。{ $words }
stage-is-to-do = 待办
stage-is-running = 运行中
stage-is-stale = 已过时
stage-is-done = 已完成
stage-is-not-needed = 不需要
stage-load = 载入
    .tooltip = 模型及其数据
stage-configure = 配置
    .tooltip = 对每一层做什么
stage-calibrate = 校准
    .tooltip = 各层输入的取值范围，在评估方案时求出
stage-compress = 压缩
    .tooltip = 压缩后的模型，在评估方案时生成
stage-evaluate = 评估
    .tooltip = 按 F5 测量当前方案
stage-compare = 比较
    .tooltip = { $count } 个方案有最新的测量结果
stage-export = 导出
    .tooltip = 按 Ctrl+E 写出模型

# Groups of presets.
presets-common = 常用
presets-data = 整数数据
presets-integers = 整数权重
presets-corrected = 用校准数据校正
presets-floats = 浮点数与微缩放块
presets-pruning = 剪枝
presets-codebooks = 码本
presets-signs = 符号（需要训练）
presets-gguf = GGUF 块
