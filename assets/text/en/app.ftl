# App: toasts and the log.

app-saved = Saved
app-not-saved = The project could not be saved: { $error }
app-nothing-that-small = Nothing is that small: measure layer losses (F6), or allow more bytes
app-all-measured = Every recipe of the run has been measured as it is now
app-none-measured = Nothing has been measured yet: evaluate some recipes first
app-no-format = Choose a kind of file that can hold the recipe, and a name without a folder
app-no-file-manager = No file manager could be started: { $error }. The folder is { $path }
app-no-file-dialogs = This machine has no file dialogs: write the path into the field
app-no-cache = There is no folder for what is only looked at: make a project
app-cancelling = Cancelling…
app-found = Found "{ $recipe }"; its history is in the recipe
app-report-not-saved = The report of "{ $recipe }" could not be saved: { $error }
app-reports = reports
# In place of a signal to noise ratio that is without end.
app-exact = exact

# Jobs: how they end.

job-done = { $job }: done in { $time }
job-cancelled = { $job }: cancelled
job-failed = { $job }: { $message }

# Jobs: titles.

job-open = Open { $path }
job-open-sample = Open the sample
job-create = Make { $path }
job-look = Look into { $file }
job-score = Score weight errors
job-inspect = Inspect a large layer
job-picture = Weights of { $layer }
job-evaluate = Evaluate { $recipe }
job-losses = Measure layer losses
job-search = Search: { $goal }
job-importance = Importance by { $question }
job-page = Write { $path }
job-export = Export { $recipe } as { $format }
job-network = Draw the network
job-zip = Zip the original
job-data = Check the data
job-data-keys = Find out which results hold
job-samples = Read samples
job-changed = Read changed samples

# Jobs: what they do at present.

job-step-scoring = Weight errors by layer and width
job-step-reading-layer = Reading { $layer }
job-step-drawing = Drawing
job-step-writing-page = Writing the page
job-step-reading-pictures = Reading pictures

# Jobs: what they find, and what stands in their way.

job-model-network = { $format }: { $nodes ->
        [one] { $nodes } node
       *[other] { $nodes } nodes
    }, { $weights } weights, { $bytes }
job-model-weights = { $format }: weights without a graph, { $weights } weights, { $bytes }
job-no-model = this is no model that Lapidary can read. { $error }
job-no-layer = the layer is gone
job-best = Best so far: { $bytes }, KL { $kl }
job-not-finite = not finite
job-no-folder = { $path } cannot be made: { $error }
job-not-written = { $path } cannot be written: { $error }
job-activation = Activations of a sample
job-preflight = Look ahead
