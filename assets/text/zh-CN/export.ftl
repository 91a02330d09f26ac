# Export: the files that are written, and what runtimes do with them.

export-no-project = 没有打开的项目
    .hint = 在这里写出当前方案的模型。
export-what = 内容
export-recipe = 方案
export-bits = 每个权重的位数
export-bits-value = { $bits }，包括缩放因子和零点
export-sqnr = 权重 SQNR
export-sqnr-wait = 正在计算
export-quality = Top-1
export-quality-stale = 测量之后有改动
export-quality-kl = KL { $kl } nat
export-quality-value = { $quality }，基于 { $samples } 个样本
export-quality-none = 未测量；导出时测量

export-files = 文件
export-at-most = 至多 { $size }
export-written = 已写出：{ $size }（{ $share }）
export-original = 原模型
export-original-value = { $size }（{ $bytes } 字节）
export-zip = 原模型 zip -9
    .tooltip = 用 zip 压缩原模型，看能有多小
export-zip-wait = 正在计算…
export-header-too-large = 权重太多，微控制器装不下；命令行仍可写出

export-where = 位置
export-folder = 文件夹
export-browse = 浏览…
export-name = 名称
export-now = 导出并检查
export-now-files = 导出并检查 { $count } 个文件
export-now-hint = 每个文件都会重新打开、比较并测量，之后才得到它的名称。

export-weights = 权重
export-weights-value = { $layers } 层，{ $weights } 个权重，共 { $size }
export-rest = 其余
export-rest-value = { $size }：偏置、范围、计算图本身
export-refused = 未按要求处理
export-more = 还有 { $count } 个

export-no-files = 还没有导出任何文件
    .hint = 这里列出对每个文件所做的检查。
export-file = { $format }：{ $name }
export-open-folder = 打开文件夹
export-copy-path = 复制路径
export-look = 查看内容
    .tooltip = 打开该文件，如同把它拖放到窗口
export-path = 路径
export-bytes = 大小
export-stale = 已过时
    .tooltip = 由另一个方案写出，或者写出之后方案有改动。
export-passed = 通过
export-failed = 未通过

# What runtimes do with the recipe.
runtimes-no-project = 没有打开的项目
    .hint = 这里列出各运行时如何处理该方案。
runtimes-native = 原生
    .tooltip = 直接以存储的形式计算
runtimes-falls = 转为浮点
    .tooltip = 可以运行，但先转换为浮点数：文件变小，网络不会变快
runtimes-refused = 不支持
    .tooltip = 无法运行
runtimes-by-layers = 按层数
runtimes-native-layers = { $count } 层原生
runtimes-falls-layers = { $count } 层转为浮点
runtimes-refused-layers = { $count } 层不支持
runtimes-list = ，
runtimes-title = { $runtime }，读取 { $file }：{ $layers }
runtimes-impossible = { $runtime }：{ $file } 无法保存此方案
runtimes-no-remarks = 没有任何障碍。
runtimes-more = 还有 { $count } 个
runtimes-source = 依据各运行时的文档；展开一行可查看具体内容和出处。
