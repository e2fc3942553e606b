//! Checks a `.storageconfig` and prints what it does to each kind of blob.
//!
//! `cargo run -p storageconfig --example check -- FILE`; without a file, the example of Kopia's
//! manual.

use storageconfig::{Report, StorageConfig};

const MANUAL: &str = r#"{
   "blobOptions": [
     { "prefix": "p", "storageClass": "INTELLIGENT_TIERING" },
     { "prefix": "s", "storageClass": "REDUCED_REDUNDANCY" },
     { "storageClass": "STANDARD_IA" }
  ]
}
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => MANUAL.into(),
    };
    for finding in Report::of(&text).findings {
        let place = finding.position.map_or(String::new(), |at| format!("{at}: "));
        println!("{place}{} {}", finding.code, finding.message);
    }
    for line in StorageConfig::parse(&text)?.explain_kinds() {
        let class = line.storage_class.as_deref().unwrap_or("(bucket's default)");
        let contents = line.kind.map_or("", |kind| kind.contents());
        println!("{:8} {class:20} {contents}: {}", line.blob, line.reason);
    }
    Ok(())
}
