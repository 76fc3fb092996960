//! Gives the functions that depend on a row's place the place: a pass over the plan before it is analysed.
//!
//! `rnd_…()` over a `long_sequence` get its `x` as hidden last arguments, carried up through subqueries that do
//! not select it; under a join of sequences, that of each. `timestamp_sequence(start, step)` becomes `start` plus
//! the steps of the rows before: by `x` where it stands on the sequence itself and the step is a constant, else by a
//! window over the rows as they come, or as `x` orders them.

use std::sync::Arc;

use datafusion::{
    catalog::default_table_source::source_as_provider,
    common::{
        Column, Result, ScalarValue,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::SessionState,
    functions_aggregate::sum::sum_udaf,
    logical_expr::{
        Expr, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias, WindowFrame, WindowFrameBound,
        WindowFrameUnits, WindowFunctionDefinition,
        expr::{ScalarFunction, WindowFunction},
        expr_rewriter::NamePreserver,
        lit,
    },
};

use super::{
    random::{self, Random},
    sequence::Sequence,
    steps::{self, TimestampSequence},
};

/// Puts rows' numbers in, and keeps the order of rows that come from sequences alone.
pub(super) fn number(plan: LogicalPlan, state: &mut SessionState) -> Result<LogicalPlan> {
    let (mut wanted, mut sequences, mut others) = (false, false, false);
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(_) = node {
            let sequence = with_sequence(node, |_| ()).is_some();
            sequences |= sequence;
            others |= !sequence;
        }
        node.apply_expressions(|expr| {
            wanted |= expr.exists(|expr| Ok(is_wanted(expr)))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if sequences && !others {
        // Whoever counts from 1 to n wants to see the rows so, and a batch is made faster than handed over.
        state.config_mut().options_mut().optimizer.enable_round_robin_repartition = false;
    }
    if !wanted {
        return Ok(plan);
    }
    let (chance, mut site) = (random::fresh(), 0);
    let numbered = plan.transform_up_with_subqueries(|node| number_node(node, chance, &mut site))?;
    Ok(numbered.data)
}

fn is_wanted(expr: &Expr) -> bool {
    random_of(expr).is_some() || steps_of(expr).is_some()
}

fn random_of(expr: &Expr) -> Option<(&Random, &ScalarFunction)> {
    let Expr::ScalarFunction(function) = expr else { return None };
    Some((function.func.inner().downcast_ref::<Random>()?, function))
}

/// A `timestamp_sequence` that has no rows yet: the unit, the start and the step.
fn steps_of(expr: &Expr) -> Option<(&TimestampSequence, &Expr, &Expr)> {
    let Expr::ScalarFunction(function) = expr else { return None };
    let steps = function.func.inner().downcast_ref::<TimestampSequence>()?;
    match &function.args[..] {
        [start, step] if !steps.summed => Some((steps, start, step)),
        _ => None,
    }
}

/// Where rows get their numbers: columns of a plan, and the key that is of their seeds.
struct Numbers {
    columns: Vec<Column>,
    key: u64,
    /// True for all the rows of one sequence, in their order.
    whole: bool,
}

fn number_node(node: LogicalPlan, chance: u64, site: &mut u64) -> Result<Transformed<LogicalPlan>> {
    let mut wanted = false;
    node.apply_expressions(|expr| {
        wanted |= expr.exists(|expr| Ok(is_wanted(expr)))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    let inputs = node.inputs();
    let (true, [input]) = (wanted, &inputs[..]) else { return Ok(Transformed::no(node)) };
    let (mut input, numbers) = match expose((*input).clone(), chance)? {
        (input, Some(numbers)) => (input, Some(numbers)),
        (input, None) => (input, None),
    };
    let names = NamePreserver::new(&node);
    let mut exprs = Vec::new();
    for expr in node.expressions() {
        let saved = names.save(&expr);
        let expr = expr.transform_up(|expr| {
            let (Some(numbers), Some((random, function))) = (&numbers, random_of(&expr)) else {
                return Ok(Transformed::no(expr));
            };
            let Some(func) = random.numbered(numbers.key, *site, numbers.columns.len()) else {
                return Ok(Transformed::no(expr));
            };
            *site += 1;
            let mut args = function.args.clone();
            args.extend(numbers.columns.iter().cloned().map(Expr::Column));
            Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })))
        })?;
        exprs.push((saved, expr.data));
    }
    let exprs = step(exprs, &mut input, numbers.as_ref())?;
    let exprs: Vec<Expr> = exprs.into_iter().map(|(saved, expr)| saved.restore(expr)).collect();
    Ok(Transformed::yes(node.with_new_exprs(exprs, vec![input])?))
}

/// Puts the sum of the steps before into every `timestamp_sequence`, by windows over `input` where need be.
fn step<T>(
    exprs: Vec<(T, Expr)>,
    input: &mut LogicalPlan,
    numbers: Option<&Numbers>,
) -> Result<Vec<(T, Expr)>> {
    let mut summed: Vec<Expr> = Vec::new();
    let name = |at: usize| format!("_steps{at}");
    let placed = exprs
        .into_iter()
        .map(|(saved, expr)| {
            let expr = expr.transform_up(|expr| {
                let Some((steps, start, step)) = steps_of(&expr) else { return Ok(Transformed::no(expr)) };
                let before = match (numbers, step) {
                    (Some(Numbers { columns, whole: true, .. }), Expr::Literal(..)) => {
                        (Expr::Column(columns[0].clone()) - lit(1_i64)) * step.clone()
                    }
                    _ => {
                        summed.push(step.clone());
                        Expr::Column(Column::from_name(name(summed.len() - 1)))
                    }
                };
                Ok(Transformed::yes(steps.after(start.clone(), before)))
            })?;
            Ok((saved, expr.data))
        })
        .collect::<Result<Vec<_>>>()?;
    if summed.is_empty() {
        return Ok(placed);
    }
    let own: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let steps = summed.iter().enumerate().map(|(at, step)| step.clone().alias(format!("_step{at}")));
    let rows = LogicalPlanBuilder::from(input.clone()).project(own.iter().cloned().chain(steps))?;
    let order = numbers.into_iter().flat_map(|numbers| &numbers.columns);
    let order: Vec<_> = order.map(|column| Expr::Column(column.clone()).sort(true, true)).collect();
    let windows = (0..summed.len()).map(|at| {
        let step = Expr::Column(Column::from_name(format!("_step{at}")));
        let step = steps::as_long(step);
        let mut window = WindowFunction::new(WindowFunctionDefinition::AggregateUDF(sum_udaf()), vec![step]);
        window.params.order_by.clone_from(&order);
        window.params.window_frame = WindowFrame::new_bounds(
            WindowFrameUnits::Rows,
            WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
            WindowFrameBound::Preceding(ScalarValue::UInt64(Some(1))),
        );
        Expr::WindowFunction(Box::new(window))
    });
    let windows: Vec<Expr> = windows.collect();
    let named = windows.iter().enumerate().map(|(at, window)| {
        let column = Column::from_name(window.schema_name().to_string());
        Expr::Column(column).alias(name(at))
    });
    let named: Vec<Expr> = named.collect();
    let rows = rows.window(windows)?;
    *input = rows.project(own.into_iter().chain(named))?.build()?;
    Ok(placed)
}

/// What `read` says of the sequence that `node` scans.
fn with_sequence<T>(node: &LogicalPlan, read: impl FnOnce(&Sequence) -> T) -> Option<T> {
    let LogicalPlan::TableScan(scan) = node else { return None };
    let provider = source_as_provider(&scan.source).ok()?;
    provider.downcast_ref::<Sequence>().map(read)
}

/// The plan with its rows' numbers among its columns; as it was if they have none.
fn expose(plan: LogicalPlan, chance: u64) -> Result<(LogicalPlan, Option<Numbers>)> {
    if let Some(seeds) = with_sequence(&plan, |sequence| sequence.seeds) {
        let key = seeds.map_or(chance, random::seeded);
        let numbers = Numbers { columns: plan.schema().columns(), key, whole: true };
        return Ok((plan, Some(numbers)));
    }
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let (input, numbers) = expose(Arc::unwrap_or_clone(alias.input), chance)?;
            let found = numbers.as_ref().map(|numbers| places(&input, &numbers.columns));
            let plan = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias)?);
            let numbers = numbers.map(|numbers| Numbers {
                columns: found.into_iter().flatten().map(|at| plan.schema().columns()[at].clone()).collect(),
                ..numbers
            });
            Ok((plan, numbers))
        }
        LogicalPlan::Projection(projection) => {
            let (input, numbers) = expose(Arc::unwrap_or_clone(projection.input), chance)?;
            let Some(numbers) = numbers else {
                let plan =
                    Projection::try_new_with_schema(projection.expr, Arc::new(input), projection.schema)?;
                return Ok((LogicalPlan::Projection(plan), None));
            };
            let mut exprs = projection.expr;
            let mut at = Vec::new();
            for (i, column) in numbers.columns.iter().enumerate() {
                let shown = exprs.iter().position(|expr| match expr {
                    Expr::Alias(alias) => *alias.expr == Expr::Column(column.clone()),
                    other => *other == Expr::Column(column.clone()),
                });
                at.push(shown.unwrap_or(exprs.len()));
                if shown.is_none() {
                    let depth = exprs.len();
                    exprs.push(Expr::Column(column.clone()).alias(format!("_row{i}_{depth}")));
                }
            }
            let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?);
            let all = plan.schema().columns();
            let columns = at.into_iter().map(|at| all[at].clone()).collect();
            Ok((plan, Some(Numbers { columns, ..numbers })))
        }
        LogicalPlan::Filter(_) | LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => {
            let exprs = plan.expressions();
            let input = plan.inputs().into_iter().next().cloned();
            let Some(input) = input else { return Ok((plan, None)) };
            let (input, numbers) = expose(input, chance)?;
            let plan = plan.with_new_exprs(exprs, vec![input])?;
            Ok((plan, numbers.map(|numbers| Numbers { whole: false, ..numbers })))
        }
        LogicalPlan::Join(_) => {
            let exprs = plan.expressions();
            let [left, right] = plan.inputs()[..] else { return Ok((plan, None)) };
            let ((left, of_left), (right, of_right)) =
                (expose(left.clone(), chance)?, expose(right.clone(), chance)?);
            let (Some(of_left), Some(of_right)) = (of_left, of_right) else { return Ok((plan, None)) };
            let joined = plan.with_new_exprs(exprs, vec![left, right])?;
            let columns: Vec<Column> = of_left.columns.into_iter().chain(of_right.columns).collect();
            // A semi join shows one side only.
            if !columns.iter().all(|column| joined.schema().has_column(column)) {
                return Ok((plan, None));
            }
            let key = random::both(of_left.key, of_right.key);
            Ok((joined, Some(Numbers { columns, key, whole: false })))
        }
        other => Ok((other, None)),
    }
}

fn places(plan: &LogicalPlan, columns: &[Column]) -> Vec<usize> {
    columns.iter().filter_map(|column| plan.schema().maybe_index_of_column(column)).collect()
}
