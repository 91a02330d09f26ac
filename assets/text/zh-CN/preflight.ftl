# What is to be known before a run.

preflight-none = 没有可以检查的内容
preflight-running = 正在检查…
preflight-of = 评估 { $recipe } 之前
preflight-fact = 供参考
preflight-note = 说明
preflight-warning = 警告
preflight-stop = 无法运行
preflight-jump = 显示这一层
preflight-unfit = 方案不适合该模型：{ $why }
preflight-unreadable = 无法读取数据：{ $why }
preflight-samples = 评估 { $measured } 个样本，用 { $calibrate } 个样本校准
preflight-measured = 评估 { $measured } 个样本；该方案不需要校准
preflight-same-data = 校准数据和评估数据相同：需要校准的方案的精度会偏高
preflight-unseen = 第一次校准之后才能知道失效通道和非有限值
preflight-dead = { $channels } 个输入通道中有 { $dead } 个在所有校准样本上都为零
preflight-not-finite = { $values } 个输入值不是有限值
preflight-memory = 大约需要 { $needed } 内存；可用 { $free }
preflight-disk = 导出文件需要 { $needed } 磁盘空间；可用 { $free }
preflight-time = 大约 { $seconds }（{ $recipe } 在 { $samples } 个样本上所用的时间）
