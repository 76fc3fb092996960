//! Joins: which conditions are keys, which belong to a side, and which to the pair.

use datafusion::{
    common::{JoinType, NullEquality},
    logical_expr::{BinaryExpr, Expr, Join as JoinNode, Operator, utils::split_conjunction_owned},
};
use nowcast_views::{Flow, Join, JoinKind, Source};

use super::{
    tree::{Builder, Built, Conditions, Needed, note},
    window,
};

/// Whose columns an expression names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Left,
    Right,
    Both,
    None,
}

/// Conditions by where they go.
#[derive(Default)]
struct Placed {
    left: Conditions,
    right: Conditions,
    keys: Vec<(Expr, Expr)>,
    pair: Conditions,
    above: Conditions,
}

impl Builder<'_> {
    pub(super) fn join(
        &self,
        join: &JoinNode,
        conditions: Conditions,
        needed: &Needed,
    ) -> Result<Built, String> {
        if join.null_equality == NullEquality::NullEqualsNull {
            return Err("it joins where NULL equals NULL, which is not maintained yet".to_owned());
        }
        let left_width = join.left.schema().fields().len();
        let kind = kind(join, &conditions, left_width)?;
        let of = |expr: &Expr| of(expr, join, left_width);
        let (inner, semi) = (kind == JoinKind::Inner, matches!(kind, JoinKind::Semi | JoinKind::Anti));

        let mut placed = Placed::default();
        let mut on: Conditions = Vec::new();
        for condition in conditions {
            match of(&condition)? {
                Of::Left if matches!(kind, JoinKind::Inner | JoinKind::Left) || semi => {
                    placed.left.push(condition);
                }
                Of::Right if matches!(kind, JoinKind::Inner | JoinKind::Right) => {
                    placed.right.push(condition)
                }
                Of::Both if inner => on.push(condition),
                _ => placed.above.push(condition),
            }
        }
        placed.keys.extend(join.on.iter().cloned());
        on.extend(join.filter.clone().map(split_conjunction_owned).unwrap_or_default());
        for condition in on {
            match of(&condition)? {
                Of::Left if matches!(kind, JoinKind::Inner | JoinKind::Right | JoinKind::Semi) => {
                    placed.left.push(condition);
                }
                Of::Right if !matches!(kind, JoinKind::Right | JoinKind::Full) => {
                    placed.right.push(condition)
                }
                Of::Both => match equality(&condition, &of)? {
                    Some(key) => placed.keys.push(key),
                    None => placed.pair.push(condition),
                },
                _ => placed.pair.push(condition),
            }
        }
        self.joined(join, kind, placed, needed, left_width)
    }

    fn joined(
        &self,
        join: &JoinNode,
        kind: JoinKind,
        placed: Placed,
        needed: &Needed,
        left_width: usize,
    ) -> Result<Built, String> {
        let Placed { left, right, keys, mut pair, above } = placed;
        let semi = matches!(kind, JoinKind::Semi | JoinKind::Anti);
        let mut below = [Needed::new(), Needed::new()];
        let mut whole = needed.clone();
        note(&above, &join.schema, &mut whole)?;
        let both = join.left.schema().join(join.right.schema());
        let both = both.map_err(|e| crate::failure::of(&e).message)?;
        note(&pair, &both, &mut whole)?;
        for at in whole {
            if at < left_width {
                below[0].insert(at)
            } else {
                below[1].insert(at - left_width)
            };
        }
        for (a, b) in &keys {
            note(std::slice::from_ref(a), join.left.schema(), &mut below[0])?;
            note(std::slice::from_ref(b), join.right.schema(), &mut below[1])?;
        }
        let left = self.build(&join.left, left, &below[0])?;
        let right = self.build(&join.right, right, &below[1])?;
        let mut on = Vec::new();
        for (a, b) in keys {
            match self.pair(&a, &left.schema, &b, &right.schema)? {
                Some(key) => on.push(key),
                None => pair.push(a.eq(b)),
            }
        }
        if on.is_empty() {
            return Err("it joins tables without an equality of their columns".to_owned());
        }
        let width = left.of.len();
        let shifted = right.of.iter().map(|of| of.map(|at| at + left_width));
        let mut of: Vec<Option<usize>> = left.of.iter().copied().chain(shifted).collect();
        let mut identity = left.identity.clone();
        identity.extend(right.identity.iter().map(|at| at + width).filter(|_| !semi));
        let names = left.schema.join(&right.schema).map_err(|e| crate::failure::of(&e).message)?;
        let filter = match pair.into_iter().reduce(Expr::and) {
            Some(pair) => Some(self.compile(&pair, &names)?),
            None => None,
        };
        let identities = [left.identity, right.identity];
        let made = Join { kind, sides: [left.flow, right.flow], on, identity: identities, filter };
        let input = made.schema();
        of.truncate(input.fields().len());
        let flow = Flow { source: Source::Join(Box::new(made)), input, filter: None, window: None };
        let built = self.labelled(flow, &join.schema, of, identity)?;
        let node = datafusion::logical_expr::LogicalPlan::Join(join.clone());
        // Conditions of both sides that ask a subquery stand above, too.
        let mut built = Some(built);
        self.asked(&node, above, needed, |plain, _| match built.take() {
            Some(built) => self.conditioned(built, plain),
            None => Err("a join is built twice".to_owned()),
        })
    }
}

fn kind(join: &JoinNode, conditions: &Conditions, left_width: usize) -> Result<JoinKind, String> {
    // A range of time leaves no row that is NULL there: what it stands on is no outer side any more.
    let mut bounded = [false, false];
    for condition in conditions.iter().filter(|condition| window::names_clock(condition)) {
        match of(condition, join, left_width)? {
            Of::Left => bounded[0] = true,
            Of::Right => bounded[1] = true,
            Of::Both | Of::None => {}
        }
    }
    Ok(match (join.join_type, bounded) {
        (JoinType::Inner, _) | (JoinType::Left, [_, true]) | (JoinType::Right, [true, _]) => JoinKind::Inner,
        (JoinType::Full, [true, true]) => JoinKind::Inner,
        (JoinType::Full, [true, false]) | (JoinType::Left, _) => JoinKind::Left,
        (JoinType::Full, [false, true]) | (JoinType::Right, _) => JoinKind::Right,
        (JoinType::Full, _) => JoinKind::Full,
        (JoinType::LeftSemi, _) => JoinKind::Semi,
        (JoinType::LeftAnti, _) if !join.null_aware => JoinKind::Anti,
        (other, _) => return Err(format!("a {other} join is not maintained")),
    })
}

fn of(expr: &Expr, join: &JoinNode, left_width: usize) -> Result<Of, String> {
    let (mut left, mut right) = (false, false);
    for column in expr.column_refs() {
        let at = join.schema.maybe_index_of_column(column);
        // A semi join shows its left side alone.
        let at = at.or_else(|| Some(left_width + join.right.schema().maybe_index_of_column(column)?));
        match at.ok_or_else(|| format!("{column} is not in the join"))? {
            at if at < left_width => left = true,
            _ => right = true,
        }
    }
    Ok(match (left, right) {
        (true, true) => Of::Both,
        (true, false) => Of::Left,
        (false, true) => Of::Right,
        (false, false) => Of::None,
    })
}

/// `left = right`, as a key: an expression of either side.
fn equality(
    condition: &Expr,
    of: &impl Fn(&Expr) -> Result<Of, String>,
) -> Result<Option<(Expr, Expr)>, String> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return Ok(None) };
    Ok(match (of(left)?, of(right)?) {
        (Of::Left, Of::Right) => Some(((**left).clone(), (**right).clone())),
        (Of::Right, Of::Left) => Some(((**right).clone(), (**left).clone())),
        _ => None,
    })
}
