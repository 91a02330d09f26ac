# Edits: what the undo menu calls its steps.

edit-treat-one = 将 { $layer } 设为 { $what }
edit-treat = 将 { $count } 层设为 { $what }
edit-reset-one = 重置 { $layer }
edit-reset = 重置 { $count } 层
edit-default = 将默认设置改为 { $scheme }
edit-whole = 更改方案对整个网络的处理
edit-select = 选择 { $recipe }
edit-fork = 将 { $from } 复制为 { $to }
edit-rename = 将 { $from } 重命名为 { $to }
edit-delete = 删除 { $recipe }
edit-replace = 更改 { $recipe }
edit-add = 添加 { $recipe }
edit-data = 更改数据
edit-notes = 编辑备注
edit-run = 更改评估列表

# What layers are set to, where the engine's own name does not say it all.

edit-settings = 新设置
edit-inputs = { $scheme } 输入
edit-correction = { $level } 校正
edit-pruning = 按 { $measure } 剪枝
