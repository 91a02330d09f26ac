# What is to be known before a run.

preflight-none = Nothing to look ahead at
preflight-running = Looking ahead…
preflight-of = before { $recipe } is measured
preflight-fact = For information
preflight-note = Note
preflight-warning = Warning
preflight-stop = It cannot run
preflight-jump = Show this layer
preflight-unfit = The recipe does not fit the model: { $why }
preflight-unreadable = The data cannot be read: { $why }
preflight-samples = { $measured ->
        [one] One sample is measured
       *[other] { $measured } samples are measured
    }, { $calibrate ->
        [one] one calibrates
       *[other] { $calibrate } calibrate
    }
preflight-measured = { $measured ->
        [one] One sample is measured
       *[other] { $measured } samples are measured
    }; the recipe needs no calibration
preflight-same-data = Calibration and evaluation data are the same: the accuracy of calibrated recipes is flattered
preflight-unseen = Dead channels and values that are not finite are known after the first calibration
preflight-dead = { $dead } of { $channels } input channels were zero on all calibration samples
preflight-not-finite = { $values ->
        [one] One input value is
       *[other] { $values } input values are
    } not finite
preflight-memory = About { $needed } of memory; { $free } are free
preflight-disk = { $needed } of disk for an exported file; { $free } are free
preflight-time = About { $seconds }, as { $recipe } took on { $samples ->
        [one] one sample
       *[other] { $samples } samples
    }
