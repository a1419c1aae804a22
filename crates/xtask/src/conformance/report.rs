//! The report: counts by document and layer, then every statement with its tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::claims::Claims;
use super::statements::Statement;

const REQUIREMENT_SHOWN: usize = 160;

/// Statements held against the tests that name them.
pub(super) struct Report<'a> {
    statements: &'a [Statement],
    claims: &'a Claims,
}

#[derive(Default)]
struct Count {
    tested: usize,
    all: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(statements: &'a [Statement], claims: &'a Claims) -> Self {
        Self { statements, claims }
    }

    /// The statements of these layers, of all where none is named, that no test names.
    pub(super) fn open(&self, layers: &[String]) -> Vec<&str> {
        let is_asked =
            |statement: &&Statement| layers.is_empty() || layers.contains(&statement.layer);
        let is_open = |statement: &&Statement| !self.claims.contains_key(&statement.id);
        let open = self.statements.iter().filter(is_asked).filter(is_open);
        open.map(|statement| &*statement.id).collect()
    }

    /// Ids in tests that no table has: slips of the pen.
    pub(super) fn unknown(&self) -> Vec<(&str, Vec<&str>)> {
        let known: BTreeSet<&str> = self
            .statements
            .iter()
            .map(|statement| &*statement.id)
            .collect();
        let unknown = self.claims.iter().filter(|(id, _)| !known.contains(&***id));
        unknown
            .map(|(id, places)| (&**id, places.iter().map(|place| &**place).collect()))
            .collect()
    }

    /// A table of counts, one row a document and layer.
    pub(super) fn summary(&self) -> String {
        let mut counts: BTreeMap<(&str, &str), Count> = BTreeMap::new();
        for statement in self.statements {
            for layer in [&*statement.layer, "all"] {
                let count = counts.entry((statement.document, layer)).or_default();
                count.all += 1;
                count.tested += usize::from(self.claims.contains_key(&statement.id));
            }
        }
        let mut text =
            String::from("| document | layer | tested | of |\n| --- | --- | --- | --- |\n");
        for ((document, layer), count) in counts {
            let _ = writeln!(
                text,
                "| {document} | {layer} | {} | {} |",
                count.tested, count.all
            );
        }
        text
    }

    pub(super) fn to_markdown(&self) -> String {
        let mut text = String::from(
            "# Conformance\n\n\
             Written by `cargo xtask conformance`. A statement counts as tested if a test names its\n\
             id; the texts are shortened, those of `docs/spec` are whole.\n\n",
        );
        text.push_str(&self.summary());
        let mut document = "";
        for statement in self.statements {
            if statement.document != document {
                document = statement.document;
                let _ = write!(
                    text,
                    "\n## {document}\n\n\
                     | id | layer | level | statement | verdict | tests |\n\
                     | --- | --- | --- | --- | --- | --- |\n"
                );
            }
            let tests = self.claims.get(&statement.id);
            let names: Vec<String> = tests
                .into_iter()
                .flatten()
                .map(|place| format!("`{place}`"))
                .collect();
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                statement.id,
                statement.layer,
                statement.level,
                shortened(&statement.requirement),
                if tests.is_some() { "tested" } else { "open" },
                names.join(" "),
            );
        }
        text
    }
}

/// Cuts at a word and keeps the text from ending its cell or starting markup.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    for word in text.split_whitespace() {
        if short.len() + word.len() > REQUIREMENT_SHOWN {
            short.push_str(" ..");
            break;
        }
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(word);
    }
    short
        .replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('*', "\\*")
        .replace('`', "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(id: &str, layer: &str) -> Statement {
        Statement {
            id: id.into(),
            document: "MQTT",
            layer: layer.into(),
            level: "MUST".into(),
            requirement: "a | b".into(),
        }
    }

    #[test]
    fn what_no_test_names_is_open() {
        let statements = [
            statement("a", "codec"),
            statement("b", "codec"),
            statement("c", "topic"),
        ];
        let claims = Claims::from([("a".into(), BTreeSet::from(["x::y".into()]))]);
        let report = Report::new(&statements, &claims);
        assert_eq!(report.open(&[]), ["b", "c"]);
        assert_eq!(report.open(&["topic".into()]), ["c"]);
        assert!(report.summary().contains("| MQTT | codec | 1 | 2 |"));
        assert!(
            report
                .to_markdown()
                .contains("| a | codec | MUST | a \\| b | tested | `x::y` |")
        );
        assert!(
            report
                .to_markdown()
                .contains("| b | codec | MUST | a \\| b | open |  |")
        );
    }

    #[test]
    fn an_id_without_a_statement_is_reported() {
        let statements = [statement("a", "codec")];
        let claims = Claims::from([("z".into(), BTreeSet::from(["x::y".into()]))]);
        assert_eq!(
            Report::new(&statements, &claims).unknown(),
            [("z", vec!["x::y"])]
        );
    }
}
