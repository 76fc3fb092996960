//! How a view is kept up to date, in words.

use nowcast_views::{Body, Flow, JoinKind, Source, ViewPlan};

use super::window;

/// The sliding ranges, from left to right.
pub(super) fn windows(flow: &Flow) -> String {
    let mut found = Vec::new();
    collect(flow, &mut found);
    if found.is_empty() { "none".to_owned() } else { found.join(", ") }
}

fn collect(flow: &Flow, found: &mut Vec<String>) {
    match &flow.source {
        Source::Table(_) => {}
        Source::Join(join) => join.sides.iter().for_each(|side| collect(side, found)),
        Source::Union(branches) => branches.iter().for_each(|branch| collect(&branch.flow, found)),
        Source::Select(select) => collect(&select.flow, found),
    }
    if let Some(range) = &flow.window {
        found.push(window::describe(range, &flow.input));
    }
}

/// From the tables up: `order_items [filter, window] join users > groups > first 50`.
pub(super) fn operators(plan: &ViewPlan) -> String {
    let mut steps = vec![source(&plan.flow)];
    match &plan.body {
        Body::Rows { .. } => steps.push("rows".to_owned()),
        Body::Groups { keys, aggregates, .. } => steps.push(groups(keys.len(), aggregates.len())),
    }
    if plan.having.is_some() {
        steps.push("having".to_owned());
    }
    if !plan.order.is_empty() {
        steps.push(plan.limit.map_or("order".to_owned(), |limit| format!("first {limit}")));
    }
    steps.join(" > ")
}

fn groups(keys: usize, aggregates: usize) -> String {
    match (keys, aggregates) {
        (0, _) => "one group".to_owned(),
        (_, 0) => "distinct".to_owned(),
        (1, _) => "groups by 1 key".to_owned(),
        _ => format!("groups by {keys} keys"),
    }
}

fn source(flow: &Flow) -> String {
    let made = match &flow.source {
        Source::Table(leaf) => leaf.table.to_string(),
        Source::Join(join) => {
            let word = match join.kind {
                JoinKind::Inner => "join",
                JoinKind::Left => "left join",
                JoinKind::Right => "right join",
                JoinKind::Full => "full join",
                JoinKind::Semi => "semi join",
                JoinKind::Anti => "anti join",
            };
            format!("({} {word} {})", source(&join.sides[0]), source(&join.sides[1]))
        }
        Source::Union(branches) => match &branches[..] {
            [one] => source(&one.flow),
            many => {
                let parts: Vec<String> = many.iter().map(|branch| source(&branch.flow)).collect();
                format!("({})", parts.join(" union "))
            }
        },
        Source::Select(select) => {
            format!("({} > {})", source(&select.flow), groups(select.keys.len(), select.aggregates.len()))
        }
    };
    let conditions = [flow.filter.as_ref().map(|_| "filter"), flow.window.map(|_| "window")];
    let conditions: Vec<&str> = conditions.into_iter().flatten().collect();
    if conditions.is_empty() { made } else { format!("{made} [{}]", conditions.join(", ")) }
}
