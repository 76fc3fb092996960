//! Queries of the catalogue: what depends on the session becomes a value, and what DataFusion does not plan
//! becomes something that it does.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, SelectItem, VisitMut,
        VisitorMut,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
};

use crate::sql::Session;

/// Lists in columns that are not there, or there as text: rights come with the user, and tables have no options.
const LISTS: [&str; 7] = ["relacl", "attacl", "proacl", "typacl", "nspacl", "datacl", "reloptions"];

/// What makes one row of many.
const AGGREGATES: [&str; 10] =
    ["count", "max", "min", "sum", "avg", "array_agg", "string_agg", "bool_or", "bool_and", "first_value"];

/// Tables that psql makes lists of, and that have no rows.
const EMPTY: [&str; 4] = ["pg_auth_members", "pg_policy", "unnest", "attacl"];

/// Tables of what no table here has: whatever is asked about it has no rows.
const NOTHING: [&str; 4] = ["pg_index", "pg_constraint", "pg_trigger", "pg_sequence"];

/// The query that has no rows in the place of one about keys, indexes and the like, for when it cannot be planned;
/// `None` if it asks for something else.
pub(super) fn without_rows(statement: &ast::Statement) -> Option<ast::Statement> {
    let ast::Statement::Query(query) = statement else { return None };
    let text = query.to_string();
    let ast::SetExpr::Select(select) = &*query.body else { return None };
    if !NOTHING.iter().any(|name| text.contains(name)) {
        return None;
    }
    let column = |(i, item): (usize, &SelectItem)| match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => name.value.clone(),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
            parts.last().map(|name| name.value.clone()).unwrap_or_default()
        }
        _ => format!("column{i}"),
    };
    let columns = select.projection.iter().enumerate().map(column);
    let columns: Vec<String> = columns.map(|name| format!("CAST(NULL AS VARCHAR) AS \"{name}\"")).collect();
    let sql = format!("SELECT {} WHERE false", columns.join(", "));
    Parser::parse_sql(&PostgreSqlDialect {}, &sql).ok()?.pop()
}

/// Tables of what a server of one process and no extensions has none of; columns are texts if nothing else is said.
const WITHOUT_ROWS: [(&str, &str); 8] = [
    (
        "pg_stat_activity",
        "datid:INT datname pid:INT leader_pid:INT usesysid:INT usename application_name client_addr client_hostname \
         client_port:INT backend_start:TIMESTAMP xact_start:TIMESTAMP query_start:TIMESTAMP state_change:TIMESTAMP \
         wait_event_type wait_event state backend_xid backend_xmin query_id:BIGINT query backend_type",
    ),
    (
        "pg_locks",
        "locktype database:INT relation:INT page:INT tuple:INT virtualxid transactionid classid:INT objid:INT \
         objsubid:INT virtualtransaction pid:INT mode granted:BOOLEAN fastpath:BOOLEAN waitstart:TIMESTAMP",
    ),
    ("pg_timezone_names", "name abbrev utc_offset is_dst:BOOLEAN"),
    ("pg_timezone_abbrevs", "abbrev utc_offset is_dst:BOOLEAN"),
    ("pg_available_extensions", "name default_version installed_version comment"),
    ("pg_prepared_xacts", "transaction gid prepared:TIMESTAMP owner database"),
    ("pg_stat_database", "datid:INT datname numbackends:INT xact_commit:BIGINT xact_rollback:BIGINT"),
    ("pg_group", "groname grosysid:INT grolist"),
];

/// Words of expressions that are NULL for every column.
const NO_CASE: [&str; 2] = ["json_build_object(", "FROM pg_catalog.pg_attrdef"];

/// Rewrites a statement for `session`.
pub(super) fn rewrite(statement: &mut ast::Statement, session: &Session) {
    let _ = statement.visit(&mut Rewrite { session });
}

struct Rewrite<'a> {
    session: &'a Session,
}

impl VisitorMut for Rewrite<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        // Both `session_user` and `current_user` are one function by now, and no two columns have one name.
        let mut names = ["session_user", "current_user", "current_role"].into_iter();
        for item in &mut select.projection {
            let (expr, alias) = match &*item {
                SelectItem::UnnamedExpr(expr) => (expr, Ident::new("exists")),
                SelectItem::ExprWithAlias { expr, alias } => (expr, alias.clone()),
                _ => continue,
            };
            if let Expr::Exists { subquery, negated: false } = expr
                && let Some(expr) = counted(subquery)
            {
                *item = SelectItem::ExprWithAlias { expr, alias };
                continue;
            }
            if let SelectItem::UnnamedExpr(expr) = item
                && let Expr::Function(function) = &*expr
                && let Some(name) = called(function)
            {
                let name = if name == "session_user" { names.next().unwrap_or("user") } else { &name };
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::new(name) };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut ast::TableFactor) -> ControlFlow<()> {
        if let ast::TableFactor::Table { name, alias, args: None, .. } = table
            && let Some(called) =
                name.0.last().and_then(|part| part.as_ident()).map(|name| name.value.clone())
            && let Some(query) = self.table(&called)
        {
            let name = || Ident::new(&called);
            let own = || ast::TableAlias { explicit: true, name: name(), columns: Vec::new(), at: None };
            let alias = Some(alias.take().unwrap_or_else(own));
            *table = ast::TableFactor::Derived { lateral: false, subquery: query, alias, sample: None };
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let replaced = match expr {
            Expr::Function(function) => self.function(function),
            Expr::CompoundIdentifier(parts) => parts.last().and_then(list),
            Expr::Identifier(name) => list(name),
            // What the parser leaves of Grafana's look-up of the search path.
            Expr::InList { expr: schema, list, negated: false }
                if list.iter().all(is_empty_text) && schema.to_string().contains("table_schema") =>
            {
                let schemas = self.schemas().map(quoted).collect::<Vec<_>>().join(", ");
                parse(&format!("{schema} IN ({schemas})"))
            }
            // SQLAlchemy's look at defaults, identities and collations, which no column has.
            Expr::Case { .. } if NO_CASE.iter().any(|word| expr.to_string().contains(word)) => {
                parse("CAST(NULL AS VARCHAR)")
            }
            // JDBC's look for arrays. Functions are texts in `pg_type`, and numbers once they are cast.
            Expr::BinaryOp { left, right, .. }
                if left.to_string().ends_with("typinput") && right.to_string().contains("array_in'") =>
            {
                parse(&format!("{left} = 'array_in'"))
            }
            Expr::Subquery(query) => {
                let alone = only_value(query);
                if alone.is_none() {
                    only_row(query);
                }
                alone
            }
            _ => None,
        };
        if let Some(replaced) = replaced {
            *expr = replaced;
        }
        ControlFlow::Continue(())
    }
}

impl Rewrite<'_> {
    fn function(&self, function: &Function) -> Option<Expr> {
        let variable = |name: &str| self.session.variables.get(name).map(String::as_str);
        match called(function)?.as_str() {
            "current_setting" => {
                let name = first_argument(function)?;
                let variables = self.session.variables.iter();
                let cases =
                    variables.map(|(name, value)| format!(" WHEN {} THEN {}", quoted(name), quoted(value)));
                parse(&format!("CASE lower({name}){} ELSE NULL END", cases.collect::<String>()))
            }
            // Nothing has a comment, whatever it is called.
            "obj_description" | "col_description" => parse("CAST(NULL AS VARCHAR)"),
            // A setting that nothing here depends on: asyncpg turns off a compiler that is not there.
            "set_config" => {
                let FunctionArguments::List(list) = &function.args else { return None };
                match list.args.get(1)? {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value.clone()),
                    _ => None,
                }
            }
            "session_user" => parse(&quoted(variable("session_authorization").unwrap_or_default())),
            "to_regclass" => self.number_of(first_argument(function)?),
            "current_schema" => parse(&quoted(self.schemas().next()?)),
            // No table has an index, and so no key.
            "unnest" if function.args.to_string().contains("indkey") => parse("CAST(NULL AS SMALLINT)"),
            "array" => match &function.args {
                FunctionArguments::Subquery(query) => {
                    let text = query.to_string();
                    if EMPTY.iter().any(|name| text.contains(name)) {
                        return parse("string_to_array(NULL, ',')");
                    }
                    parse(&format!("(SELECT array_agg(item) FROM ({text}) AS list(item))"))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The query that stands for a table of the session's, or for one without rows.
    fn table(&self, name: &str) -> Option<Box<ast::Query>> {
        match name {
            "pg_settings" => self.settings(),
            "pg_user" | "pg_shadow" => {
                let user = self.session.variables.get("session_authorization").map_or("", String::as_str);
                parse_query(&format!(
                    "SELECT {} AS usename, 10 AS usesysid, false AS usecreatedb, false AS usesuper, \
                     false AS userepl, false AS usebypassrls, CAST(NULL AS VARCHAR) AS passwd, \
                     CAST(NULL AS TIMESTAMP) AS valuntil, CAST(NULL AS VARCHAR) AS useconfig",
                    quoted(user)
                ))
            }
            _ => {
                let (_, columns) = WITHOUT_ROWS.iter().find(|(known, _)| *known == name)?;
                let columns = columns.split(' ').map(|column| match column.split_once(':') {
                    Some((name, ty)) => format!("CAST(NULL AS {ty}) AS {name}"),
                    None => format!("CAST(NULL AS VARCHAR) AS {column}"),
                });
                let columns: Vec<String> = columns.collect();
                parse_query(&format!("SELECT {} WHERE false", columns.join(", ")))
            }
        }
    }

    /// The session's variables as `pg_settings` shows them.
    fn settings(&self) -> Option<Box<ast::Query>> {
        let rows = self.session.variables.iter();
        let rows: Vec<String> =
            rows.map(|(name, value)| format!("({}, {})", quoted(name), quoted(value))).collect();
        let sql = format!(
            "SELECT name, setting, CAST(NULL AS VARCHAR) AS unit, '' AS category, '' AS short_desc, '' AS extra_desc, \
             'user' AS context, 'string' AS vartype, 'session' AS source, CAST(NULL AS VARCHAR) AS min_val, \
             CAST(NULL AS VARCHAR) AS max_val, CAST(NULL AS VARCHAR) AS enumvals, setting AS boot_val, \
             setting AS reset_val, CAST(NULL AS VARCHAR) AS sourcefile, CAST(NULL AS INT) AS sourceline, \
             false AS pending_restart FROM (VALUES {}) AS v(name, setting)",
            rows.join(", ")
        );
        parse_query(&sql)
    }

    /// The number of the table that a text names: of the search path, if it names no schema.
    fn number_of(&self, name: &Expr) -> Option<Expr> {
        let schemas = self.schemas().chain(["pg_catalog"]).map(quoted).collect::<Vec<_>>().join(", ");
        let name = format!("lower(replace({name}, '\"', ''))");
        parse(&format!(
            "(SELECT first_value(c.oid) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
             ON c.relnamespace = n.oid WHERE lower(n.nspname || '.' || c.relname) = {name} \
             OR (n.nspname IN ({schemas}) AND lower(c.relname) = {name}))"
        ))
    }

    fn schemas(&self) -> impl Iterator<Item = &str> {
        let path = &self.session.search_path;
        let public = path.is_empty().then_some("public");
        path.iter().map(String::as_str).filter(|schema| *schema != "$user").chain(public)
    }
}

/// The function's name without its schema, lower case.
fn called(function: &Function) -> Option<String> {
    function.name.0.last()?.as_ident().map(|name| name.value.to_lowercase())
}

fn first_argument(function: &Function) -> Option<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    match list.args.first()? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn is_empty_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value == ast::Value::SingleQuotedString(String::new()))
}

fn list(name: &Ident) -> Option<Expr> {
    if name.value == "indkey" {
        return parse("arrow_cast(make_array(), 'List(Int16)')");
    }
    LISTS.contains(&name.value.as_str()).then(|| parse("string_to_array(NULL, ',')")).flatten()
}

/// What `(SELECT value)` is.
fn only_value(query: &ast::Query) -> Option<Expr> {
    let ast::SetExpr::Select(select) = &*query.body else { return None };
    match &select.projection[..] {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }]
            if select.from.is_empty() && select.selection.is_none() && query.limit_clause.is_none() =>
        {
            Some(Expr::Nested(Box::new(expr.clone())))
        }
        _ => None,
    }
}

/// `EXISTS (query)` as a value, which DataFusion has in conditions alone.
fn counted(query: &ast::Query) -> Option<Expr> {
    let mut query = query.clone();
    if let ast::SetExpr::Select(select) = &mut *query.body
        && select.projection.is_empty()
    {
        select.projection.push(SelectItem::UnnamedExpr(parse("1")?));
    }
    parse(&format!("((SELECT count(*) FROM ({query}) AS found) > 0)"))
}

/// Makes a query that stands for a value one that has one row for certain: DataFusion does not take it otherwise.
fn only_row(query: &mut ast::Query) {
    let ast::SetExpr::Select(select) = &mut *query.body else { return };
    let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] =
        select.projection.as_mut_slice()
    else {
        return;
    };
    let is_aggregate = matches!(&*expr, Expr::Function(function)
        if called(function).is_some_and(|name| AGGREGATES.contains(&name.as_str())));
    if is_aggregate || select.from.is_empty() || select.distinct.is_some() {
        return;
    }
    let order = match &query.order_by {
        None => String::new(),
        Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(by), .. })
            if takes_one(query.limit_clause.as_ref()) =>
        {
            let by = by.iter().map(|by| match &by.expr {
                // The first column, which is the only one.
                Expr::Value(_) => by.to_string().replacen(&by.expr.to_string(), &expr.to_string(), 1),
                _ => by.to_string(),
            });
            format!(" ORDER BY {}", by.collect::<Vec<_>>().join(", "))
        }
        Some(_) => return,
    };
    if let Some(first) = parse(&format!("first_value({expr}{order})")) {
        *expr = first;
        (query.order_by, query.limit_clause) = (None, None);
    }
}

/// `LIMIT 1`, or no limit: more than one row would be an error.
fn takes_one(limit: Option<&ast::LimitClause>) -> bool {
    match limit {
        None => true,
        Some(ast::LimitClause::LimitOffset { limit: Some(Expr::Value(limit)), offset: None, .. }) => {
            matches!(&limit.value, ast::Value::Number(number, _) if number == "1")
        }
        Some(_) => false,
    }
}

fn parse_query(sql: &str) -> Option<Box<ast::Query>> {
    match Parser::parse_sql(&PostgreSqlDialect {}, sql).ok()?.pop()? {
        ast::Statement::Query(query) => Some(query),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// An expression out of our own text.
fn parse(sql: &str) -> Option<Expr> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).and_then(|mut parser| parser.parse_expr()).ok()
}
