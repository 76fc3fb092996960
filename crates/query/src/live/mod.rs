//! Queries that are kept up to date.
//!
//! A query is planned once. If its plan is of a form that [`nowcast_views`] can maintain (see [`plan`]), it is
//! *incremental*: rows in, changes out. Any other query is *re-evaluated*: run again as a batch query when a
//! table that it reads changed, or at every tick if it names the clock. Either way the answer is that of the
//! batch query; the reason for the choice is told.

mod body;
mod explain;
mod expr;
mod join;
mod keyed;
mod output;
mod parts;
mod plan;
mod seed;
mod subquery;
mod tree;
mod window;

use std::{collections::BTreeSet, fmt, sync::Arc};

use nowcast_model::{TableName, Tick, Value};
use nowcast_views::{Kind, LiveSchema, View, ViewError, ViewLimits, ViewPlan};

pub use self::keyed::RowKey;
use crate::{
    context::QueryContext,
    engine::{Mode, QueryEngine},
    error::{SqlCode, SqlError},
    statement::{Select, Statement},
};

/// A query that can be kept up to date.
#[derive(Clone)]
pub struct LiveQuery {
    /// Equal exactly for queries that share one view: the query's structure with its parameters and tables,
    /// relative times kept relative, and the tenant.
    pub identity: String,
    /// What the live table looks like.
    pub schema: LiveSchema,
    /// How it is kept up to date.
    pub mode: LiveMode,
    /// The query as the user wrote it.
    pub text: String,
    select: Select,
}

/// How a query is kept up to date.
#[derive(Clone)]
pub enum LiveMode {
    /// By the changes of its tables.
    Incremental {
        /// What to compute.
        plan: Arc<ViewPlan>,
        /// What its rows look like should it be run again, having grown too large.
        again: Arc<LiveSchema>,
        /// How they are told apart then.
        key: RowKey,
    },
    /// By running it again.
    Reevaluated {
        /// The tables that it reads.
        tables: Vec<TableName>,
        /// True if it names the clock: every tick may change it.
        clock: bool,
        /// Why it is not incremental.
        reason: String,
        /// How its rows are told apart.
        key: RowKey,
    },
}

impl fmt::Debug for LiveQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.explain()).finish()
    }
}

impl LiveQuery {
    /// What to hand to [`nowcast_views::Engine::add`].
    pub fn kind(&self) -> Kind {
        match &self.mode {
            LiveMode::Incremental { plan, again, .. } => plan.kind(again.clone()),
            LiveMode::Reevaluated { tables, clock, .. } => {
                Kind::Reevaluated { tables: tables.clone(), clock: *clock }
            }
        }
    }

    /// `incremental` or `reevaluated`.
    pub fn mode_name(&self) -> &'static str {
        match &self.mode {
            LiveMode::Incremental { .. } => "incremental",
            LiveMode::Reevaluated { .. } => "reevaluated",
        }
    }

    /// Why it is not incremental, if it is not.
    pub fn reason(&self) -> Option<&str> {
        match &self.mode {
            LiveMode::Incremental { .. } => None,
            LiveMode::Reevaluated { reason, .. } => Some(reason),
        }
    }

    /// The tables that it reads.
    pub fn tables(&self) -> Vec<TableName> {
        match &self.mode {
            LiveMode::Incremental { plan, .. } => {
                let names: BTreeSet<_> =
                    plan.flow.leaves().into_iter().map(|(leaf, _)| &leaf.table).collect();
                names.into_iter().cloned().collect()
            }
            LiveMode::Reevaluated { tables, .. } => tables.clone(),
        }
    }

    /// The rows of EXPLAIN LIVE: item and value.
    pub fn explain(&self) -> Vec<(String, String)> {
        let tables: Vec<String> = self.tables().iter().map(ToString::to_string).collect();
        let names = |indices: &[usize]| {
            let names = indices.iter().map(|&i| &*self.schema.columns[i].name);
            names.collect::<Vec<_>>().join(", ")
        };
        let (reason, window, operators) = match &self.mode {
            LiveMode::Incremental { plan, .. } => {
                let reason = "every part of it can be maintained by the changes of its tables".to_owned();
                (reason, explain::windows(&plan.flow), explain::operators(plan))
            }
            LiveMode::Reevaluated { reason, clock, .. } => {
                let when = if *clock {
                    "runs again at every tick and change"
                } else {
                    "runs again when a table changes"
                };
                (format!("{reason}; {when}"), "none".to_owned(), "the whole query".to_owned())
            }
        };
        let key = match self.schema.key.is_empty() {
            true => "none: one row".to_owned(),
            false => names(&self.schema.key),
        };
        let item = |item: &str, value: String| (item.to_owned(), value);
        vec![
            item("mode", self.mode_name().to_owned()),
            item("reason", reason),
            item("tables", tables.join(", ")),
            item("window", window),
            item("key", key),
            item("operators", operators),
        ]
    }
}

impl QueryEngine {
    /// Plans a query to be kept up to date. `*` is expanded now; a query that uses it is to be planned anew
    /// when a column is added ([`LiveQuery::identity`] changes with it).
    ///
    /// # Errors
    /// As [`QueryEngine::query`]; or the text is not one query, or it uses `random()` or `uuid()`.
    pub fn plan_live(&self, ctx: &QueryContext, sql: &str) -> Result<LiveQuery, SqlError> {
        match self.parse_one(sql)? {
            Statement::Query(select) => self.plan_live_statement(ctx, &select),
            other => {
                let message = format!("only a query can be live, found {}", other.tag());
                Err(SqlError::new(SqlCode::NotSupported, message).hint("subscribe to a SELECT"))
            }
        }
    }

    pub(crate) fn plan_live_statement(
        &self,
        ctx: &QueryContext,
        select: &Select,
    ) -> Result<LiveQuery, SqlError> {
        let planned = self.plan(ctx, select, Mode::Live)?;
        let made = plan::make(&planned)?;
        // The tables stand with their schemas: the search path is in them. `*` stands with its columns.
        let tables: BTreeSet<String> = planned.found.keys().map(ToString::to_string).collect();
        let columns: Vec<String> =
            made.schema.columns.iter().map(|c| format!("{} {}", c.name, c.ty)).collect();
        let identity = format!("{:?} {} {tables:?} {columns:?}", ctx.tenant, planned.sql);
        let text = select.text().to_owned();
        Ok(LiveQuery { identity, schema: made.schema, mode: made.mode, text, select: select.clone() })
    }

    /// A view of an incremental query with the rows of the snapshot in it, as of `tick`. Reads the window's
    /// range and the columns that are needed. `progress` is told the rows that were read.
    ///
    /// # Errors
    /// A value failed, or the state outgrew its bound; or the query is not incremental.
    pub async fn seed(
        &self,
        ctx: &QueryContext,
        live: &LiveQuery,
        tick: Tick,
        limits: &ViewLimits,
        progress: impl FnMut(u64) + Send,
    ) -> Result<View, ViewError> {
        let LiveMode::Incremental { plan, .. } = &live.mode else {
            return Err(ViewError::Plan("a re-evaluated query has no state to seed".to_owned()));
        };
        seed::seed(self, ctx, plan, tick, limits, progress).await
    }

    /// The rows of a query at the snapshot and `tick`, in the form of its live table once it is run again. At most
    /// `rows_max` + 1 of them: one more than is shown tells that there are more.
    ///
    /// # Errors
    /// A value failed, or the query ran out of memory.
    pub async fn evaluate(
        &self,
        ctx: &QueryContext,
        live: &LiveQuery,
        tick: Tick,
        rows_max: usize,
    ) -> Result<Vec<Arc<[Value]>>, SqlError> {
        let ctx = QueryContext { now_us: tick.us(), ..ctx.clone() };
        let planned = self.plan(&ctx, &live.select, Mode::Batch)?;
        keyed::evaluate(self, &ctx, &planned, live, rows_max).await
    }
}
