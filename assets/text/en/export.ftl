# Export: the files that are written, and what runtimes do with them.

export-no-project = No project is open
    .hint = The active recipe's model is written here.
export-what = What
export-recipe = Recipe
export-bits = Bits per weight
export-bits-value = { $bits }, scales and zero points included
export-sqnr = Weight SQNR
export-sqnr-wait = being scored
export-quality = Top-1
export-quality-stale = changed since it was measured
export-quality-kl = KL { $kl } nats
export-quality-value = { $samples ->
        [one] { $quality } on { $samples } sample
       *[other] { $quality } on { $samples } samples
    }
export-quality-none = not measured; the export measures it

export-files = Files
export-at-most = at most { $size }
export-written = written: { $size } ({ $share })
export-original = Original
export-original-value = { $size } ({ $bytes } bytes)
export-zip = zip -9 of it
    .tooltip = Zips the original to see how small that makes it
export-zip-wait = being found out…
export-header-too-large = more weights than a microcontroller holds; the command line writes it all the same

export-where = Where
export-folder = Folder
export-browse = Browse…
export-name = Name
export-now = Export and check
export-now-files = Export and check { $count } files
export-now-hint = Each file is opened again, compared and measured before it gets its name.

export-weights = Weights
export-weights-value = { $layers ->
        [one] { $layers } layer, { $weights } weights in { $size }
       *[other] { $layers } layers, { $weights } weights in { $size }
    }
export-rest = All else
export-rest-value = { $size }: biases, ranges, the graph itself
export-refused = Not done as asked
export-more = and { $count } more

export-no-files = Nothing has been exported yet
    .hint = What was checked of each file is listed here.
export-file = { $format }: { $name }
export-open-folder = Open folder
export-copy-path = Copy path
export-look = Look into it
    .tooltip = Opens the file as if it had been dropped on the window
export-path = Path
export-bytes = Bytes
export-stale = Stale
    .tooltip = Written from another recipe, or before the recipe was changed.
export-passed = Passed
export-failed = Failed

# What runtimes do with the recipe.
runtimes-no-project = No project is open
    .hint = What runtimes do with the recipe is listed here.
runtimes-native = native
    .tooltip = Computes with it as it is stored
runtimes-falls = as floats
    .tooltip = Runs it, but makes floats of it first: a smaller file, no faster network
runtimes-refused = refused
    .tooltip = Does not run it
runtimes-by-layers = by layers
runtimes-native-layers = { $count } native
runtimes-falls-layers = { $count } as floats
runtimes-refused-layers = { $count } refused
runtimes-list = { ", " }
runtimes-title = { $runtime }, from { $file }: { $layers }
runtimes-impossible = { $runtime }: { $file } cannot hold the recipe
runtimes-no-remarks = Nothing stands against it.
runtimes-more = and { $count } more
runtimes-source = From what each runtime's documentation says; open a line to see what and where.
