# Edits: what the undo menu calls its steps.

edit-treat-one = set { $layer } to { $what }
edit-treat = set { $count } layers to { $what }
edit-reset-one = reset { $layer }
edit-reset = reset { $count } layers
edit-default = set the default to { $scheme }
edit-whole = change what the recipe does to the whole network
edit-select = select { $recipe }
edit-fork = fork { $from } as { $to }
edit-rename = rename { $from } to { $to }
edit-delete = delete { $recipe }
edit-replace = change { $recipe }
edit-add = add { $recipe }
edit-data = change the data
edit-notes = edit notes
edit-run = change what run evaluates

# What layers are set to, where the engine's own name does not say it all.

edit-settings = settings
edit-inputs = { $scheme } inputs
edit-correction = { $level } correction
edit-pruning = pruning by { $measure }
