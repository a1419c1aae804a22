//! Which tests name which statements.
//!
//! Only tests count: a statement named beside the code that it governs is a promise, not a proof.
//! A test is what stands in a `#[cfg(test)]` module at the end of a file, in a file or folder
//! called `tests`, in the test kit, in a scenario of the interoperability tests, or in a program
//! of those.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Statement id to the places `path::item` that name it.
pub(super) type Claims = BTreeMap<String, BTreeSet<String>>;

/// Folders with code, from the root of the project.
const ROOTS: [&str; 3] = ["crates", "fuzz", "benches"];

/// Folders with nothing of ours in them.
const FOREIGN: [&str; 3] = ["target", "node_modules", "corpus"];

/// Files that consist of tests although their name does not say so.
const TEST_FOLDERS: [&str; 4] = [
    "crates/testkit/",
    "crates/xtask/src/interop/scenarios/",
    "crates/xtask/interop/",
    "fuzz/",
];

/// Reads every file of the project that may hold tests.
pub(super) fn find(root: &Path) -> Result<Claims> {
    let mut claims = Claims::new();
    let mut folders: Vec<_> = ROOTS.iter().map(|name| root.join(name)).collect();
    folders.retain(|folder| folder.is_dir());
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if !FOREIGN.contains(&&*name) {
                    folders.push(path);
                }
            } else if matches!(
                path.extension().and_then(|e| e.to_str()),
                Some("rs" | "py" | "mjs")
            ) {
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                let shown = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
                collect(&shown, &text, &mut claims);
            }
        }
    }
    Ok(claims)
}

/// Adds the ids in one file to `claims`.
fn collect(path: &str, text: &str, claims: &mut Claims) {
    let is_all_tests = TEST_FOLDERS.iter().any(|folder| path.starts_with(folder))
        || path.ends_with("/tests.rs")
        || path.contains("/tests/");
    let mut in_tests = is_all_tests;
    let mut item: Option<&str> = None;
    // Ids in comments above an item belong to it, so they wait for its name.
    let mut waiting: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line == "#[cfg(test)]" {
            in_tests = true;
        }
        if !in_tests {
            continue;
        }
        let is_above = line.starts_with("//") || line.starts_with("#[") || line.starts_with('*');
        if let Some(name) = item_name(line) {
            item = Some(name);
            waiting.extend(ids(line));
        } else if is_above {
            waiting.extend(ids(line));
            continue;
        } else {
            waiting.extend(ids(line));
        }
        let place = item.map_or_else(|| path.to_owned(), |item| format!("{path}::{item}"));
        for id in waiting.drain(..) {
            claims.entry(id).or_default().insert(place.clone());
        }
    }
    for id in waiting {
        claims.entry(id).or_default().insert(path.to_owned());
    }
}

/// The name of the function or table that a line begins, in Rust, Python or JavaScript.
fn item_name(line: &str) -> Option<&str> {
    const MODIFIERS: [&str; 5] = ["pub", "pub(crate)", "pub(super)", "async", "export"];
    let mut words = line
        .split_whitespace()
        .skip_while(|word| MODIFIERS.contains(word))
        .peekable();
    let keyword = words.next()?;
    if keyword == "const" && words.peek() == Some(&"fn") {
        words.next();
    } else if !matches!(keyword, "fn" | "const" | "static" | "def" | "function") {
        return None;
    }
    let name = words.next()?;
    let end = name
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(name.len());
    name.get(..end).filter(|name| !name.is_empty())
}

/// The statement ids in a line, with the prefix that tells 3.1.1 and 5.0 apart.
fn ids(line: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let mut found = Vec::new();
    let mut before = "";
    for word in line.split(|c| !is_part(c)).filter(|word| !word.is_empty()) {
        let word = word.trim_end_matches(['.', '-']);
        let is_numbered = word.starts_with("MQTT-") && matches!(before, "v5" | "v3.1.1");
        let is_unnumbered = is_rule_without_number(word) && before == "v5";
        if is_numbered || is_unnumbered {
            found.push(format!("{before} {word}"));
        } else if ["X311-", "V31-", "BRG-"]
            .iter()
            .any(|prefix| word.starts_with(prefix))
        {
            found.push(word.to_owned());
        }
        before = word;
    }
    found
}

/// Whether it is `U-` and two digits.
fn is_rule_without_number(word: &str) -> bool {
    let digits = word.strip_prefix("U-").unwrap_or_default();
    digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(path: &str, text: &str) -> Vec<(String, Vec<String>)> {
        let mut claims = Claims::new();
        collect(path, text, &mut claims);
        claims
            .into_iter()
            .map(|(id, places)| (id, places.into_iter().collect()))
            .collect()
    }

    #[test]
    fn ids_are_read_with_their_prefix() {
        // Put together, so that this file does not claim what it only quotes.
        let (v5, v3, extra) = (
            ["v5 MQTT", "-1.2.3-4"],
            ["v3.1.1 MQTT", "-1.2-3"],
            ["X3", "11-1-a"],
        );
        let rule = ["v5 U", "-01"].concat();
        let (v5, v3, extra) = (v5.concat(), v3.concat(), extra.concat());
        let cases = [
            (format!("// {v5}, {v3}."), vec![v5.clone(), v3.clone()]),
            (
                format!("fn x() {{ // {v5}; {extra}"),
                vec![v5.clone(), extra.clone()],
            ),
            (format!("[{v5}]"), vec![v5.clone()]),
            (format!("// {v5}, {rule}"), vec![v5.clone(), rule.clone()]),
            (["U-", "01, v5 U-1, v5 U-x1"].concat(), vec![]),
            ("MQTT-1.2.3-4 without a version".to_owned(), vec![]),
        ];
        for (line, expected) in cases {
            assert_eq!(ids(&line), expected, "{line}");
        }
    }

    #[test]
    fn a_promise_in_the_code_is_no_test() {
        let id = ["V3", "1-name"].concat();
        let text = format!(
            "/// {id}\nfn promise() {{}}\n#[cfg(test)]\nmod tests {{\n    /// {id}\n    \
             #[test]\n    fn proof() {{ // {id}\n}}\n}}\n"
        );
        let expected = vec!["crates/x/src/a.rs::proof".to_owned()];
        assert_eq!(places("crates/x/src/a.rs", &text), [(id, expected)]);
    }

    #[test]
    fn a_file_of_tests_needs_no_mark() {
        let id = ["V3", "1-name"].concat();
        let text = format!("const CASES: &[&str] = &[\n    // {id}\n    \"x\",\n];\n");
        for path in ["crates/x/src/a/tests.rs", "crates/x/tests/a.rs"] {
            assert_eq!(
                places(path, &text),
                [(id.clone(), vec![format!("{path}::CASES")])]
            );
        }
        assert_eq!(places("crates/x/src/a.rs", &text), []);
    }
}
