//! The tables of `docs/spec`: one statement a row.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Each table, how tests prefix its ids, and what it is called.
const TABLES: [(&str, &str, &str); 3] = [
    ("mqtt5-statements.tsv", "v5 ", "MQTT 5.0"),
    ("mqtt311-statements.tsv", "v3.1.1 ", "MQTT 3.1.1"),
    (
        "mqtt3-extra-statements.tsv",
        "",
        "MQTT 3.1, bridges, and what 3.1.1 leaves unnumbered",
    ),
];

/// One row of a table.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    /// As tests write it: `v5 MQTT-3.1.2-24`, `X311-2.2.1-a`.
    pub(super) id: String,
    pub(super) document: &'static str,
    pub(super) layer: String,
    pub(super) level: String,
    pub(super) requirement: String,
}

/// Reads all tables, in their order.
pub(super) fn read(folder: &Path) -> Result<Vec<Statement>> {
    let mut statements = Vec::new();
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
            statements.push(Statement {
                id: format!("{prefix}{id}"),
                document,
                layer: layer.to_owned(),
                level: level.to_owned(),
                requirement: requirement.to_owned(),
            });
        }
    }
    Ok(statements)
}
