//! Findings about a `.storageconfig`, as one line each.

use storageconfig::{Finding, Level};

/// `warning W-SHADOWED: line 4, column 7, entry 1: … (the way out)`.
pub fn line(finding: &Finding) -> String {
    let level = match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
        Level::Info => "info",
    };
    let place = match (&finding.position, finding.entry) {
        (Some(at), Some(entry)) => {
            format!("line {}, column {}, entry {entry}: ", at.line, at.column)
        }
        (Some(at), None) => format!("line {}, column {}: ", at.line, at.column),
        (None, Some(entry)) => format!("entry {entry}: "),
        (None, None) => String::new(),
    };
    let fix = finding.fix.as_ref().map_or(String::new(), |fix| format!(" ({fix})"));
    format!("{level} {}: {place}{}{fix}", finding.code, finding.message)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_finding_names_code_and_place() {
        let text = br#"{"blobOptions":[{"storageClass":"GLACIER"}]}"#;
        let config = storageconfig::StorageConfig::parse(text).unwrap();
        let lines: Vec<_> = config.findings().iter().map(super::line).collect();
        let archive = lines.iter().find(|line| line.contains("W-ARCHIVE-META")).unwrap();
        assert!(archive.starts_with("warning W-ARCHIVE-META: line 1, column "), "{archive}");
    }
}
