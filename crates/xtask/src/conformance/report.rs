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
    not_applicable: usize,
    all: usize,
}

/// How a statement stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict<'a> {
    Tested,
    /// It asks for what is not done here, for this reason.
    NotApplicable(&'a str),
    Open,
}

impl<'a> Report<'a> {
    pub(super) fn new(statements: &'a [Statement], claims: &'a Claims) -> Self {
        Self { statements, claims }
    }

    fn verdict(&self, statement: &'a Statement) -> Verdict<'a> {
        match &statement.not_applicable {
            _ if self.claims.contains_key(&statement.id) => Verdict::Tested,
            Some(reason) => Verdict::NotApplicable(reason),
            None => Verdict::Open,
        }
    }

    /// The statements of these layers, of all where none is named, that no test names.
    pub(super) fn open(&self, layers: &[String]) -> Vec<&str> {
        let is_asked =
            |statement: &&Statement| layers.is_empty() || layers.contains(&statement.layer);
        let is_open = |statement: &&Statement| self.verdict(statement) == Verdict::Open;
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
                match self.verdict(statement) {
                    Verdict::Tested => count.tested += 1,
                    Verdict::NotApplicable(_) => count.not_applicable += 1,
                    Verdict::Open => {}
                }
            }
        }
        let mut text = String::from(
            "| document | layer | tested | not applicable | of |\n| --- | --- | --- | --- | --- |\n",
        );
        for ((document, layer), count) in counts {
            let _ = writeln!(
                text,
                "| {document} | {layer} | {} | {} | {} |",
                count.tested, count.not_applicable, count.all
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
                match self.verdict(statement) {
                    Verdict::Tested => "tested".into(),
                    Verdict::NotApplicable(reason) => format!("not applicable: {reason}"),
                    Verdict::Open => "open".into(),
                },
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
            not_applicable: None,
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
        assert!(report.summary().contains("| MQTT | codec | 1 | 0 | 2 |"));
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
    fn what_does_not_apply_is_not_open_and_says_why() {
        let mut far = statement("a", "codec");
        far.not_applicable = Some("no such thing".into());
        let statements = [far, statement("b", "codec")];
        let none = Claims::new();
        let report = Report::new(&statements, &none);
        assert_eq!(report.open(&[]), ["b"]);
        assert!(report.summary().contains("| MQTT | codec | 0 | 1 | 2 |"));
        assert!(
            report
                .to_markdown()
                .contains("| not applicable: no such thing |")
        );
        // A test that names it shows that it does apply.
        let claims = Claims::from([("a".into(), BTreeSet::from(["x::y".into()]))]);
        let report = Report::new(&statements, &claims);
        assert!(report.summary().contains("| MQTT | codec | 1 | 0 | 2 |"));
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
