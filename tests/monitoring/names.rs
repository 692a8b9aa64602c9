//! What an expression names: selectors, and the labels that it groups and matches by.

use std::collections::BTreeSet;

use promql_parser::parser::{self, Expr, LabelModifier};
use promql_parser::util::{ExprVisitor, walk_expr};

/// The names in an expression.
#[derive(Default)]
pub(crate) struct Names {
    /// What it selects, as it is written.
    pub(crate) selectors: BTreeSet<String>,
    /// The metrics that it selects of.
    pub(crate) metrics: BTreeSet<String>,
    /// Labels after `by`, `without`, `on`, `ignoring`, `group_left`, `group_right`.
    pub(crate) labels: BTreeSet<String>,
}

impl Names {
    /// Those of this expression; a panic where it is none.
    pub(crate) fn of(expr: &str) -> Self {
        let parsed = parser::parse(expr).unwrap_or_else(|error| panic!("{error}: {expr}"));
        let mut names = Self::default();
        let walked = walk_expr(&mut names, &parsed);
        assert_eq!(walked, Ok(true), "{expr}");
        assert!(!names.selectors.is_empty(), "nothing is selected: {expr}");
        names
    }

    fn select(&mut self, selector: &parser::VectorSelector) {
        let name = selector.name.clone();
        self.metrics.insert(name.unwrap_or_else(|| panic!("a selector without a name: {selector}")));
        self.selectors.insert(selector.to_string());
    }

    fn group(&mut self, modifier: Option<&LabelModifier>) {
        self.labels.extend(modifier.iter().flat_map(|modifier| &modifier.labels().labels).cloned());
    }
}

impl ExprVisitor for Names {
    type Error = String;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
        match expr {
            Expr::VectorSelector(selector) => self.select(selector),
            Expr::MatrixSelector(selector) => self.select(&selector.vs),
            Expr::Aggregate(aggregate) => self.group(aggregate.modifier.as_ref()),
            Expr::Binary(binary) => {
                if let Some(modifier) = &binary.modifier {
                    self.group(modifier.matching.as_ref());
                    self.labels
                        .extend(modifier.card.labels().iter().flat_map(|labels| &labels.labels).cloned());
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

#[test]
fn all_names_of_an_expression_are_found() {
    let names = Names::of(
        "sum by (route) (rate(a_total{code!~\"2..\"}[5m])) / on (job) group_left (x) b unless ignoring (y) (c > 0)",
    );
    let found = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>();
    assert_eq!(found(&names.metrics), ["a_total", "b", "c"]);
    assert_eq!(found(&names.selectors), ["a_total{code!~\"2..\"}", "b", "c"]);
    assert_eq!(found(&names.labels), ["job", "route", "x", "y"]);
}
