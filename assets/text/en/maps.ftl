# What a layer gives for a sample.

maps-none = No layer is selected
    .hint = Click a layer in the table to see what it gives for a sample.
maps-no-data = There is nothing to run the network on
    .hint = A project with a graph and evaluation data shows here what each layer gives for a sample.
maps-sample = Sample
    .tooltip = Which sample of the evaluation data: drag, or click and write its number
maps-of = what { $layer } gives, compressed by { $recipe }
maps-failed = It cannot be shown
maps-running = The networks run…
    .hint = The recipe is built, and one sample goes through both networks.
maps-first = The first { $shown } of { $channels } channels
maps-before = Before
maps-after = After
maps-difference = Before minus after
maps-value =
    Channel { $channel }, row { $row }, column { $column }
    before { $before }
    after { $after }
    difference { $difference }
maps-stopped = Nothing runs
    .hint = Choose another layer or sample.
