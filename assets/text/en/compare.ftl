# Compare: recipes side by side, what is taken for what, the trade-off.

compare-no-project = No project is open
    .recipes = Measured recipes are compared here.
    .layers = Layer errors of measured recipes are compared here.
    .changed = Samples whose prediction changed are shown here.
compare-unmeasured = Nothing has been measured yet
    .hint = Shift+F5 evaluates every recipe of the run.

# Columns of the table.
compare-recipe = Recipe
    .tooltip = On the frontier: no other has fewer bytes and at least its quality
compare-bytes = Bytes
    .tooltip = Bytes of the exported file
compare-ratio = Ratio
    .tooltip = Bytes of the original over bytes of the file
compare-top1 = Top-1 (%)
    .tooltip = Share of samples whose label comes first, with the 95 % Wilson interval
compare-change = Change
    .tooltip = Points of top-1 against the original on the same samples, with the 95 % half-width of the paired difference
compare-top5 = Top-5
    .tooltip = Share of samples whose label is among the first five, in percent
compare-kl-mean = KL mean
    .tooltip = Divergence of the outputs from the original's (Kullback-Leibler) in nats, mean over samples
compare-kl-p99 = KL p99
    .tooltip = The same, 99th percentile
compare-flips = Flips
    .tooltip = Samples whose first class changed: to wrong / to right / in all
compare-samples = Samples
    .tooltip = Samples measured on
compare-stale = { $recipe } (stale)
compare-perplexity = { $top1 }, perplexity { $perplexity }
compare-pair = { $active } against { $before }, on the same samples:
compare-pair-top1 = top-1 { $change } ± { $half } (McNemar p { $p })
compare-pair-kl = KL { $change } ± { $half }
compare-pair-tooltip = Differences of single predictions, with 95 % half-widths

# Errors of layers.
compare-layer = Layer
compare-error-kind = Kind of error
compare-base = Values or differences
compare-values = values
compare-against = against { $recipe }
compare-base-key = dB more (+) or less (−) than it
compare-exact = exact

# Changed predictions.
compare-none = No prediction changed
    .hint = Samples on which a measured recipe decides otherwise than the original are shown here.
compare-none-such = None of these
    .hint = No sample changed in this way.
compare-other-data = This was measured on other data than the project has now; its pictures are not at hand.
compare-was = was { $class }
compare-now = now { $class }
compare-sample = Sample { $number }
compare-sample-label = Label: { $class }
compare-sample-original = Original: { $class }
compare-sample-recipe = { $recipe }: { $class }
compare-changes = Which changed samples are shown
compare-changes-shown = { $all ->
        [one] { $shown } of { $all } sample on which a recipe decides otherwise
       *[other] { $shown } of { $all } samples on which a recipe decides otherwise
    }
compare-cell = { $label } taken for { $predicted } ×
compare-cell-tooltip = Show all classes
compare-confusions = { $recipe } takes { $confusions }
compare-confusions-tooltip = Cells of the confusion matrix that grew against the original, the largest first
compare-confusion = { $label } for { $predicted } +{ $more }
compare-list = { ", " }
changes-all = all that changed
changes-to-wrong = right, now wrong
changes-to-right = wrong, now right
changes-otherwise-wrong = wrong in another way

# What classes are taken for.
confusion-no-project = No project is open
    .hint = What classes are taken for is shown here.
confusion-unmeasured = Nothing has been measured yet
    .hint = F5 measures the active recipe.
confusion-none = Nothing is confused otherwise
    .hint = Every sample with a label is taken for what it was taken for.
confusion-axes = { $recipe }: rows are labels, columns predictions
confusion-fewer = { $count } fewer
confusion-more = { $count } more
confusion-all = Show all
confusion-name = Changes of the confusion matrix
confusion-cell =
    { $label } taken for { $predicted }: { $more } samples
    Click to see the samples that changed

# Quality over bytes.
tradeoff-no-project = No project is open
    .marks = Every recipe becomes a mark here.
    .rows = Every recipe becomes a row here.
tradeoff-unmeasured = Nothing has been measured yet
    .hint = F5 measures the active recipe, Shift+F5 every recipe of the run.
tradeoff-axis = Quality on the chart
tradeoff-x-axis = Bytes on disk (log)
tradeoff-measured = measured
tradeoff-predicted = predicted
tradeoff-stale = stale
tradeoff-guessed = guessed
    .tooltip = Recipes that were not measured stand where the losses of their layers add up to (KL, after F6), else where measured ones of the same weight SQNR suggest: guesses, drawn hollow
tradeoff-plans = best plans
    .tooltip = Every plan that loses least for its bytes, by the sum of what layers lose alone (weights)
tradeoff-budget = Budget
    .tooltip = The recipe that loses least in so many bytes
tradeoff-plan =
    A plan of { $size }
    Predicted: { $quality }
    Click to make it a recipe
tradeoff-mark =
    { $recipe }
    { $size } on disk
    { $value }, { $how }
tradeoff-top1 = { $value } %
tradeoff-top1-within = { $value } % ({ $low } to { $high })
tradeoff-kl = { $kl } nats
tradeoff-how-measured = { $samples ->
        [one] measured on { $samples } sample
       *[other] measured on { $samples } samples
    }
tradeoff-how-stale = changed since it was measured
tradeoff-how-summed = the weights' part alone, by what their layers lose
tradeoff-column-recipe = Recipe
tradeoff-column-bytes = Bytes
tradeoff-column-share = Share
tradeoff-column-weights = Weights
tradeoff-column-top1 = Top-1
tradeoff-column-kl = KL (nats)
tradeoff-stale-value = { $value } stale
compare-sample-click = Click to see what the selected layer makes of it
