//! Numbers as people read them.

/// `1023 B`, `268.4 KB`, `1.50 MB`: decimal units, as file managers and stores count.
#[must_use]
pub fn bytes(count: u64) -> String {
    const STEPS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "KB")];
    for (size, unit) in STEPS {
        if count >= size {
            let value = count as f64 / size as f64;
            return if value >= 100.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") };
        }
    }
    format!("{count} B")
}

/// What [`bytes`] wrote, or a person did in its way: a number with B, KB, MB or GB, or without.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<f64> {
    let text = text.trim().to_ascii_uppercase();
    let (number, size) = [("GB", 1e9), ("MB", 1e6), ("KB", 1e3), ("B", 1.0), ("", 1.0)]
        .into_iter()
        .find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size)))?;
    number.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).map(|n| n * size)
}

/// `940`, `268 k`, `1.81 M`, `3.2 G`.
#[must_use]
pub fn count(value: u64) -> String {
    const STEPS: [(u64, &str); 3] = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    for (size, unit) in STEPS {
        if value >= size {
            let scaled = value as f64 / size as f64;
            return if scaled >= 100.0 { format!("{scaled:.0} {unit}") } else { format!("{scaled:.2} {unit}") };
        }
    }
    value.to_string()
}

/// `850 ms`, `12.3 s`, `4 min 05 s`.
#[must_use]
pub fn seconds(value: f64) -> String {
    if value < 1.0 {
        format!("{:.0} ms", value * 1000.0)
    } else if value < 90.0 {
        format!("{value:.1} s")
    } else {
        let whole = value.round() as u64;
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_well() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(268_400), "268 KB");
        assert_eq!(["12.5 KB", "3mb", "7", "x"].map(parse_bytes), [Some(12_500.0), Some(3e6), Some(7.0), None]);
        assert_eq!(bytes(1_095_641), "1.1 MB");
        assert_eq!(count(272_474), "272 k");
        assert_eq!(count(1_810_000), "1.81 M");
        assert_eq!(seconds(0.85), "850 ms");
        assert_eq!(seconds(245.0), "4 min 05 s");
    }
}
