# App: toasts and the log.

app-saved = 已保存
app-not-saved = 项目未能保存：{ $error }
app-nothing-that-small = 没有这么小的方案：请先测量各层损失（F6），或者允许更多字节
app-all-measured = 评估列表中的每个方案都已按现状测量过
app-none-measured = 还没有测量结果：请先评估几个方案
app-no-format = 请选择能够容纳该方案的文件格式，并填写不含文件夹的文件名
app-no-file-manager = 无法启动文件管理器：{ $error }。文件夹是 { $path }
app-no-file-dialogs = 这台机器没有文件对话框：请把路径写入输入框
app-no-cache = 没有可存放临时查看内容的文件夹：请新建一个项目
app-cancelling = 正在取消…
app-found = 找到了“{ $recipe }”；搜索历程保存在该方案中
app-report-not-saved = “{ $recipe }”的报告未能保存：{ $error }
app-reports = 报告
# In place of a signal to noise ratio that is without end.
app-exact = 无误差

# Jobs: how they end.

job-done = { $job }：已完成，用时 { $time }
job-cancelled = { $job }：已取消
job-failed = { $job }：{ $message }

# Jobs: titles.

job-open = 打开 { $path }
job-open-sample = 打开示例
job-create = 建立 { $path }
job-look = 查看 { $file }
job-score = 计算权重误差
job-inspect = 检查较大的层
job-picture = { $layer } 的权重
job-evaluate = 评估 { $recipe }
job-losses = 测量各层损失
job-search = 搜索：{ $goal }
job-importance = 重要性（{ $question }）
job-page = 写入 { $path }
job-export = 将 { $recipe } 导出为 { $format }
job-network = 绘制计算图
job-zip = 用 zip 压缩原文件
job-data = 检查数据
job-data-keys = 确定哪些结果仍然有效
job-samples = 读取样本
job-changed = 读取预测改变的样本

# Jobs: what they do at present.

job-step-scoring = 各层在各位宽下的权重误差
job-step-reading-layer = 正在读取 { $layer }
job-step-drawing = 正在绘制
job-step-writing-page = 正在生成页面
job-step-reading-pictures = 正在读取图片

# Jobs: what they find, and what stands in their way.

job-model-network = { $format }：{ $nodes } 个节点，{ $weights } 个权重，{ $bytes }
job-model-weights = { $format }：仅有权重，没有计算图，{ $weights } 个权重，{ $bytes }
job-no-model = 这不是 Lapidary 能读取的模型。{ $error }
job-no-layer = 该层已不存在
job-best = 目前最佳：{ $bytes }，KL { $kl }
job-not-finite = 非有限值
job-no-folder = 无法建立 { $path }：{ $error }
job-not-written = 无法写入 { $path }：{ $error }
job-activation = 一个样本的激活
job-preflight = 运行前检查
