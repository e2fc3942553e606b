//! Lists of names on the command line: `fs,s3`.

use anyhow::{bail, ensure};

/// The named ones, in the order in which there are; all, if nothing is named.
pub fn choose<T: Copy>(
    flag: &str,
    text: Option<&str>,
    all: &[(&'static str, T)],
) -> anyhow::Result<Vec<(&'static str, T)>> {
    let Some(text) = text else { return Ok(all.to_vec()) };
    let wanted: Vec<_> = text.split(',').map(str::trim).filter(|it| !it.is_empty()).collect();
    ensure!(!wanted.is_empty(), "--{flag} names nothing");
    if let Some(unknown) = wanted.iter().find(|it| all.iter().all(|(name, _)| name != *it)) {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        bail!("--{flag} {unknown}: there are {}", names.join(", "));
    }
    Ok(all.iter().filter(|(name, _)| wanted.contains(name)).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_chosen_in_order_and_unknown_ones_are_told() {
        let all = [("fs", 1), ("s3", 2), ("s3-30ms", 3)];
        let chosen = |text| choose("storage", text, &all).map_err(|error| error.to_string());
        assert_eq!(chosen(None), Ok(all.to_vec()));
        assert_eq!(chosen(Some("s3-30ms,fs")), Ok(vec![("fs", 1), ("s3-30ms", 3)]));
        assert!(chosen(Some("")).is_err());
        let error = chosen(Some("fs,tape")).expect_err("there is no tape");
        assert!(error.contains("tape") && error.contains("s3-30ms"), "{error}");
    }
}
