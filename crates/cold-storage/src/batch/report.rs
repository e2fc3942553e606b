//! A job's report: a list of files, and in each file a line for each object.
//!
//! The list is JSON and names the columns; the files are CSV as RFC 4180 has it, with quotes where a
//! message holds commas or lines ("Examples: S3 Batch Operations completion reports", S3 User
//! Guide).

use serde::Deserialize;

use super::{BatchError, malformed, manifest::encode};

const LIST: &str = "the batch job's report";
const FILE: &str = "a file of the batch job's report";

/// The list of a report's files: `…/job-ID/manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReportManifest {
    /// The files.
    pub results: Vec<ResultFile>,
    #[serde(rename = "ReportSchema")]
    schema: String,
}

/// One file of a report.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResultFile {
    /// `succeeded` or `failed`: all its objects are so.
    pub task_execution_status: String,
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
}

impl ReportManifest {
    /// Reads the list.
    ///
    /// # Errors
    /// [`BatchError::Malformed`]: it is no such list.
    pub fn parse(json: &[u8]) -> Result<Self, BatchError> {
        serde_json::from_slice(json).map_err(|error| malformed(LIST, error))
    }

    /// Reads one of the files, whose columns the list names.
    ///
    /// # Errors
    /// [`BatchError::Malformed`]: a line has another number of columns, a quote has no end, or there
    /// is no column that names the key.
    pub fn rows(&self, csv: &[u8]) -> Result<Vec<ReportRow>, BatchError> {
        let names: Vec<&str> = self.schema.split(',').map(str::trim).collect();
        let column = |name: &str| names.iter().position(|column| *column == name);
        let key = column("Key").ok_or_else(|| malformed(LIST, "it has no column Key"))?;
        let status = column("TaskStatus");
        let status = status.ok_or_else(|| malformed(LIST, "it has no column TaskStatus"))?;
        let text = std::str::from_utf8(csv).map_err(|error| malformed(FILE, error))?;
        let mut rows = Vec::new();
        for line in lines(text)? {
            if line.len() != names.len() {
                let (found, expected) = (line.len(), names.len());
                let reason = format!("a line has {found} columns, not {expected}");
                return Err(malformed(FILE, reason));
            }
            let cell = |name| {
                let text = column(name).map_or("", |at| line[at].trim());
                Some(text.to_owned()).filter(|text| !text.is_empty())
            };
            rows.push(ReportRow {
                bucket: cell("Bucket").unwrap_or_default(),
                key: line[key].clone(),
                version: cell("VersionId"),
                succeeded: line[status].trim().eq_ignore_ascii_case("succeeded"),
                code: cell("ErrorCode"),
                http_status: cell("HTTPStatusCode").and_then(|status| status.parse().ok()),
                message: cell("ResultMessage").unwrap_or_default(),
            });
        }
        Ok(rows)
    }
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRow {
    /// Its bucket.
    pub bucket: String,
    /// Its key as the report writes it; see [`Self::is_of`].
    pub key: String,
    /// Its version, if the manifest named one.
    pub version: Option<String>,
    /// Was the thaw asked for?
    pub succeeded: bool,
    /// The error's code.
    pub code: Option<String>,
    /// The status that the request was answered with.
    pub http_status: Option<u16>,
    /// More for people.
    pub message: String,
}

impl ReportRow {
    /// Is it about this key? Reports write keys as the manifest did, or plain.
    pub fn is_of(&self, key: &str) -> bool {
        self.key == key || self.key == encode(key)
    }
}

/// The cells of all lines that are not empty.
fn lines(text: &str) -> Result<Vec<Vec<String>>, BatchError> {
    let (mut all, mut line, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut rest) = (false, text.chars().peekable());
    let mut begun = false; // also where all cells so far are empty
    while let Some(letter) = rest.next() {
        match letter {
            '"' if quoted && rest.peek() == Some(&'"') => {
                rest.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => {
                quoted = true;
                begun = true;
            }
            _ if quoted => cell.push(letter),
            ',' => {
                begun = true;
                line.push(std::mem::take(&mut cell));
            }
            '\r' if rest.peek() == Some(&'\n') => {}
            '\n' => {
                if begun || !cell.is_empty() {
                    line.push(std::mem::take(&mut cell));
                    all.push(std::mem::take(&mut line));
                }
                begun = false;
            }
            other => cell.push(other),
        }
    }
    if quoted {
        return Err(malformed(FILE, "a quote has no end"));
    }
    if begun || !cell.is_empty() {
        line.push(cell);
        all.push(line);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the manual's page on reports, with other keys.
    const JSON: &str = r#"{ "Format": "Report_CSV_20180820",
        "ReportCreationDate": "2019-04-05T17:48:39.725Z",
        "Results": [ { "TaskExecutionStatus": "failed", "Bucket": "my-job-reports",
            "MD5Checksum": "22ee037f3515975f7719699e5c416eaa", "Key": "job-f8/results/b2.csv" } ],
        "ReportSchema": "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage" }"#;

    #[test]
    fn the_list_names_files_and_columns_and_a_file_its_objects() {
        let list = ReportManifest::parse(JSON.as_bytes()).unwrap();
        assert_eq!(list.results.len(), 1);
        assert_eq!(list.results[0].key, "job-f8/results/b2.csv");
        assert_eq!(list.results[0].task_execution_status, "failed");
        let csv = "b,r+1/p1,,failed,AccessDenied,403,\"Access, \"\"denied\"\"\nin two lines\"\r\n\
                   b,r+1/p2,v1,succeeded,,200,Successful\n";
        let rows = list.rows(csv.as_bytes()).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].succeeded, rows[0].code.as_deref()), (false, Some("AccessDenied")));
        assert_eq!((rows[0].http_status, rows[0].version.as_deref()), (Some(403), None));
        assert_eq!(rows[0].message, "Access, \"denied\"\nin two lines");
        assert!(rows[0].is_of("r 1/p1") && rows[0].is_of("r+1/p1") && !rows[0].is_of("r 1/p2"));
        assert_eq!((rows[1].succeeded, rows[1].version.as_deref()), (true, Some("v1")));
        assert_eq!(list.rows(b"").unwrap(), []);
    }

    #[test]
    fn columns_are_found_by_name_not_by_place() {
        let json = JSON.replace("Bucket, Key, VersionId", "VersionId, Key, Bucket");
        let list = ReportManifest::parse(json.as_bytes()).unwrap();
        let rows = list.rows(b"v,k,b,failed,E,500,m").unwrap();
        assert_eq!((&*rows[0].bucket, &*rows[0].key), ("b", "k"));
        assert_eq!(rows[0].version.as_deref(), Some("v"));
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        let list = ReportManifest::parse(JSON.as_bytes()).unwrap();
        for csv in ["b,k,,failed", "b,k,,failed,E,403,\"open", "\n\n,\n"] {
            assert!(list.rows(csv.as_bytes()).is_err(), "{csv:?}");
        }
        assert!(list.rows(b"\xff").is_err());
        let no_key = JSON.replace("Key, VersionId", "Name, VersionId");
        assert!(ReportManifest::parse(no_key.as_bytes()).unwrap().rows(b"a").is_err());
        for end in 0..JSON.len() {
            assert!(ReportManifest::parse(&JSON.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }
}
