# The window itself: its language, workspaces and panels.

language-name = 简体中文
language-no-font = 系统中没有包含中文字符的字体。请安装一种（例如 fonts-noto-cjk），然后重新选择语言。

workspace-load = 载入
workspace-configure = 配置
workspace-graph = 计算图
workspace-compare = 比较
workspace-export = 导出
pane-model = 模型
pane-data = 数据
pane-grid = 层
pane-inspector = 检查器
pane-corrections = 校正
pane-importance = 重要性
pane-weights = 权重
pane-recipe = 方案
pane-tradeoff = 权衡
pane-points = 数据点
pane-jobs = 任务
pane-log = 日志
pane-recipes = 方案列表
pane-layer-errors = 层误差
pane-changed = 改变的预测
pane-confusion = 混淆矩阵
pane-export = 导出
pane-checks = 检查
pane-runtimes = 运行时
pane-graph = 计算图
pane-activations = 激活
pane-preflight = 运行前检查
