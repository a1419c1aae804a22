//! The tables of `docs/spec`: one statement a row.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Each table, how tests prefix its ids, and what it is called.
const TABLES: [(&str, &str, &str); 4] = [
    ("mqtt5-statements.tsv", "v5 ", "MQTT 5.0"),
    (
        "mqtt5-unnumbered.tsv",
        "v5 ",
        "MQTT 5.0, rules without a number",
    ),
    ("mqtt311-statements.tsv", "v3.1.1 ", "MQTT 3.1.1"),
    (
        "mqtt3-extra-statements.tsv",
        "",
        "MQTT 3.1, bridges, and what 3.1.1 leaves unnumbered",
    ),
];

/// Statements that ask for what this project does not do, and why it does not.
const NOT_APPLICABLE: &str = "not-applicable.tsv";

/// One row of a table.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    /// As tests write it: `v5 MQTT-3.1.2-24`, `X311-2.2.1-a`.
    pub(super) id: String,
    pub(super) document: &'static str,
    pub(super) layer: String,
    pub(super) level: String,
    pub(super) requirement: String,
    /// Why it asks for nothing here.
    pub(super) not_applicable: Option<String>,
}

/// Reads all tables, in their order.
pub(super) fn read(folder: &Path) -> Result<Vec<Statement>> {
    let mut statements = Vec::new();
    let mut reasons = read_reasons(folder)?;
    for (file, prefix, document) in TABLES {
        let path = folder.join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        // The first line names the columns.
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [id, _side, layer, level, requirement, ..] = columns[..] else {
                ensure!(
                    line.trim().is_empty(),
                    "{file}: a row lacks columns: {line}"
                );
                continue;
            };
            let id = format!("{prefix}{id}");
            let not_applicable = reasons.remove(&id);
            statements.push(Statement {
                id,
                document,
                layer: layer.to_owned(),
                level: level.to_owned(),
                requirement: requirement.to_owned(),
                not_applicable,
            });
        }
    }
    let unknown: Vec<_> = reasons.into_keys().collect();
    ensure!(
        unknown.is_empty(),
        "{NOT_APPLICABLE}: no such statement: {unknown:?}"
    );
    Ok(statements)
}

/// Reads why statements do not apply, by their ids.
fn read_reasons(folder: &Path) -> Result<BTreeMap<String, String>> {
    let path = folder.join(NOT_APPLICABLE);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut reasons = BTreeMap::new();
    for line in text.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let reason = line.split_once('\t');
        let reason = reason.filter(|(_, reason)| !reason.trim().is_empty());
        let (id, reason) =
            reason.with_context(|| format!("{NOT_APPLICABLE}: no reason: {line}"))?;
        reasons.insert(id.to_owned(), reason.to_owned());
    }
    Ok(reasons)
}
