//! Table functions in FROM, each call under a name that tells its arguments.
//!
//! DataFusion tells one scan from another by the table's name, and names all calls of a function alike: of two
//! subqueries over `long_sequence(0)` and `long_sequence(3)` it would answer one.

use std::sync::{Arc, LazyLock};

use datafusion::{
    common::{DFSchema, Result, TableReference, plan_err},
    logical_expr::{
        LogicalPlanBuilder,
        planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning},
    },
    sql::sqlparser::ast::{FunctionArg, FunctionArgExpr, TableFactor},
};

/// What plans them.
pub(crate) static PLANNERS: LazyLock<[Arc<dyn RelationPlanner>; 1]> = LazyLock::new(|| [Arc::new(Calls)]);

#[derive(Debug)]
struct Calls;

impl RelationPlanner for Calls {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let (name, given, alias) = match relation {
            TableFactor::Table { name, alias, args: Some(args), .. } => (name, args.args, alias),
            TableFactor::Function { name, args, alias, .. } => (name, args, alias),
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        let Some(function) = name.0.last().and_then(|part| part.as_ident()).map(|name| name.value.clone())
        else {
            return plan_err!("{name} is no table function");
        };
        let texts: Vec<String> = given.iter().map(ToString::to_string).collect();
        let table = format!("{function}({})", texts.join(", "));
        let mut args = Vec::with_capacity(given.len());
        for arg in given {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                    args.push(context.sql_expr_to_logical_expr(expr, &DFSchema::empty())?);
                }
                arg => return plan_err!("the function '{function}' takes constants as arguments, got {arg}"),
            }
        }
        let source = context.context_provider().get_table_function_source(&function, args)?;
        let scan = LogicalPlanBuilder::scan(TableReference::bare(table), source, None)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(scan.build()?, alias))))
    }
}
