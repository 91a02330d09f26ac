# Compare: recipes side by side, what is taken for what, the trade-off.

compare-no-project = 没有打开的项目
    .recipes = 在这里比较测量过的方案。
    .layers = 在这里比较测量过的方案的层误差。
    .changed = 这里显示预测改变了的样本。
compare-unmeasured = 还没有任何测量
    .hint = Shift+F5 测量评估列表中的每个方案。

# Columns of the table.
compare-recipe = 方案
    .tooltip = 位于前沿：没有别的方案字节更少而质量不低于它
compare-bytes = 大小
    .tooltip = 导出文件的字节数
compare-ratio = 压缩比
    .tooltip = 原模型字节数除以文件字节数
compare-top1 = Top-1 (%)
    .tooltip = 标签排在第一位的样本所占比例，附 95 % Wilson 区间
compare-change = 变化
    .tooltip = 在相同样本上相对原模型的 Top-1 百分点，附配对差值的 95 % 半宽
compare-top5 = Top-5
    .tooltip = 标签位于前五名的样本所占比例，以百分比计
compare-kl-mean = KL 均值
    .tooltip = 输出与原模型输出的散度（Kullback-Leibler），单位 nat，取样本均值
compare-kl-p99 = KL p99
    .tooltip = 同上，第 99 百分位数
compare-flips = 翻转
    .tooltip = 首选类别改变的样本：变错 / 变对 / 总数
compare-samples = 样本
    .tooltip = 测量所用的样本数
compare-stale = { $recipe }（已过时）
compare-perplexity = { $top1 }，困惑度 { $perplexity }
compare-pair = { $active } 对比 { $before }（相同样本）：
compare-pair-top1 = Top-1 { $change } ± { $half }（McNemar p { $p }）
compare-pair-kl = KL { $change } ± { $half }
compare-pair-tooltip = 逐个预测的差值，附 95 % 半宽

# Errors of layers.
compare-layer = 层
compare-error-kind = 误差种类
compare-base = 数值或差值
compare-values = 数值
compare-against = 相对 { $recipe }
compare-base-key = 比它高 (+) 或低 (−) 多少 dB
compare-exact = 精确

# Changed predictions.
compare-none = 没有预测发生改变
    .hint = 这里显示测量过的方案与原模型判断不同的样本。
compare-none-such = 没有这样的样本
    .hint = 没有样本发生这种改变。
compare-other-data = 这些结果不是在项目当前的数据上测得的，因此无法显示图片。
compare-was = 原为 { $class }
compare-now = 现为 { $class }
compare-sample = 样本 { $number }
compare-sample-label = 标签：{ $class }
compare-sample-original = 原模型：{ $class }
compare-sample-recipe = { $recipe }：{ $class }
compare-changes = 显示哪些改变了的样本
compare-changes-shown = 方案判断不同的样本：显示 { $all } 个中的 { $shown } 个
compare-cell = { $label } 认作 { $predicted } ×
compare-cell-tooltip = 显示所有类别
compare-confusions = { $recipe }：{ $confusions }
compare-confusions-tooltip = 混淆矩阵中相对原模型增加的单元格，最多的在前
compare-confusion = { $label } 认作 { $predicted } +{ $more }
compare-list = ，
changes-all = 所有改变
changes-to-wrong = 由对变错
changes-to-right = 由错变对
changes-otherwise-wrong = 错得不同

# What classes are taken for.
confusion-no-project = 没有打开的项目
    .hint = 这里显示各个类别被认作什么。
confusion-unmeasured = 还没有任何测量
    .hint = F5 测量当前方案。
confusion-none = 混淆情况没有变化
    .hint = 每个有标签的样本都和原来一样被认作同一类别。
confusion-axes = { $recipe }：行为标签，列为预测
confusion-fewer = 少 { $count }
confusion-more = 多 { $count }
confusion-all = 全部显示
confusion-name = 混淆矩阵的变化
confusion-cell =
    { $label } 认作 { $predicted }：{ $more } 个样本
    点击查看改变了的样本

# Quality over bytes.
tradeoff-no-project = 没有打开的项目
    .marks = 在这里每个方案成为一个标记。
    .rows = 在这里每个方案成为一行。
tradeoff-unmeasured = 还没有任何测量
    .hint = F5 测量当前方案，Shift+F5 测量评估列表中的每个方案。
tradeoff-axis = 图上的质量指标
tradeoff-x-axis = 磁盘字节数（对数）
tradeoff-measured = 实测
tradeoff-predicted = 预测
tradeoff-stale = 已过时
tradeoff-guessed = 估计
    .tooltip = 未测量的方案放在各层损失之和所在的位置（KL，按 F6 之后），否则放在权重 SQNR 相同的实测方案所提示的位置：只是估计，以空心标记表示
tradeoff-plans = 最佳规划
    .tooltip = 在同样字节数下损失最小的每个规划，按各层单独损失之和计算（权重）
tradeoff-budget = 预算
    .tooltip = 在这么多字节之内损失最小的方案
tradeoff-plan =
    { $size } 的规划
    预测：{ $quality }
    点击把它变成方案
tradeoff-mark =
    { $recipe }
    磁盘上 { $size }
    { $value }，{ $how }
tradeoff-top1 = { $value } %
tradeoff-top1-within = { $value } %（{ $low } 至 { $high }）
tradeoff-kl = { $kl } nat
tradeoff-how-measured = 在 { $samples } 个样本上实测
tradeoff-how-stale = 测量之后有改动
tradeoff-how-summed = 仅权重部分，按各层的损失计算
tradeoff-column-recipe = 方案
tradeoff-column-bytes = 大小
tradeoff-column-share = 占比
tradeoff-column-weights = 权重
tradeoff-column-top1 = Top-1
tradeoff-column-kl = KL (nat)
tradeoff-stale-value = { $value }（已过时）
compare-sample-click = 点击可查看所选层对它的输出
