//! Tests of dashboards: the contract, mistakes with their places, queries, and the watched directory.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use nowcast_model::Record;
use nowcast_query::{Param, Params, QueryContext, QueryEngine, QueryOptions};
use serde_json::{Value, json};

use super::{keys::Key, parse::slug, *};

const DOCS: &str = include_str!("../../../../docs/dashboards.md");
const SCHEMA: &str = include_str!("../../../../docs/dashboards.schema.json");

/// A good dashboard that mistakes are made in.
const SHOP: &str = r#"title = "Shop"
range = "5m"

[[variable]]
name = "country"
query = "SELECT DISTINCT country FROM users"
multi = true

[[panel]]
title = "Sales, last 5 minutes"
chart = "stat"
at = [0, 0, 4, 2]
compare = true
query = '''
SELECT sum(price) FROM sales
WHERE ts >= $from AND ts < $to
  [[AND country IN ($country)]]
'''
spark = "SELECT ts, price FROM sales WHERE ts >= $from"

[[panel]]
title = "Sales by country"
chart = "bar"
at = [4, 0, 8, 2]
filter = "country"
query = "SELECT country, sum(price) FROM sales GROUP BY country"
"#;

#[test]
fn a_good_dashboard_becomes_what_the_page_reads() {
    let dashboard = parse("shop.toml", "shop", SHOP).unwrap();
    let json = serde_json::to_value(&dashboard).unwrap();
    assert_eq!(
        json,
        json!({
            "name": "shop",
            "title": "Shop",
            "range_s": 300,
            "variables": [{
                "name": "country",
                "title": "Country",
                "query": "SELECT DISTINCT country FROM users",
                "multi": true,
            }],
            "panels": [
                {
                    "id": "sales-last-5-minutes",
                    "title": "Sales, last 5 minutes",
                    "chart": "stat",
                    "at": [0, 0, 4, 2],
                    "query": "SELECT sum(price) FROM sales\nWHERE ts >= $from AND ts < $to\n  AND country IN ($country)",
                    "compare": true,
                    "spark": true,
                },
                {
                    "id": "sales-by-country",
                    "title": "Sales by country",
                    "chart": "bar",
                    "at": [4, 0, 8, 2],
                    "query": "SELECT country, sum(price) FROM sales GROUP BY country",
                    "compare": false,
                    "spark": false,
                    "filter": "country",
                },
            ],
        })
    );
}

#[test]
fn the_shipped_dashboard_is_good_and_keeps_to_the_schema() {
    let dashboard = parse("thelook.toml", "thelook", THELOOK).unwrap_or_else(|mistake| panic!("{mistake}"));
    assert_eq!(dashboard.panels.len(), 7);
    assert_eq!(dashboard.panels.iter().filter(|panel| panel.compare && panel.spark.is_some()).count(), 3);
    let json: Value = toml::from_str(THELOOK).unwrap();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    check_keys(&schema, &json, "the file");
    for panel in json["panel"].as_array().unwrap() {
        check_keys(&schema["$defs"]["panel"], panel, "a panel");
    }
    for variable in json["variable"].as_array().unwrap() {
        check_keys(&schema["$defs"]["variable"], variable, "a variable");
    }
}

/// With and without choices, every query of theLook is kept up to date by changes.
#[test]
fn the_shipped_panels_are_incremental() {
    let disk = nowcast_disk::MemDisk::new();
    let clock = Arc::new(nowcast_model::ManualClock::new(1_795_600_800_000_000));
    let options = nowcast_store::StoreOptions::default();
    let (store, _) = nowcast_store::Store::open(Path::new("/store"), options, disk, clock).unwrap();
    let engine = QueryEngine::new(QueryOptions::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for table in [
        "CREATE TABLE users (id VARCHAR, country SYMBOL, traffic_source SYMBOL, created_at TIMESTAMP)
         TIMESTAMP(created_at)",
        "CREATE TABLE order_items (id VARCHAR, order_id VARCHAR, user_id VARCHAR, status SYMBOL,
         created_at TIMESTAMP, sale_price DOUBLE) TIMESTAMP(created_at)",
    ] {
        let ctx = QueryContext::new(store.snapshot(), 0);
        let statement = engine.parse_one(table).unwrap();
        let items = runtime.block_on(engine.write_items(&ctx, &statement)).unwrap();
        let items = store.registry().admit(items, |items| items).unwrap();
        let offset = store.snapshot().position;
        store.apply(&Record { offset, at_us: 0, producer: None, items }).unwrap();
    }
    let dashboard = parse("thelook.toml", "thelook", THELOOK).unwrap_or_else(|mistake| panic!("{mistake}"));
    let names: Vec<&str> = dashboard.variables.iter().map(|variable| variable.name.as_str()).collect();
    let choices: [&[&str]; 4] = [&[], &["country"], &["traffic_source"], &["country", "traffic_source"]];
    for panel in &dashboard.panels {
        let spark = panel.spark.iter().map(|text| (Part::Spark, text));
        for (part, text) in [(Part::Main, &panel.query)].into_iter().chain(spark) {
            for chosen in choices {
                let query = PanelQuery::new(part, text, 300, &names);
                let mut params = Params::default();
                for name in &names {
                    let all = !chosen.contains(name);
                    let list = || Param::List(vec!["China".into(), "Email".into()]);
                    params.named.insert((*name).to_owned(), if all { Param::All } else { list() });
                }
                params.named.insert("from".to_owned(), Param::Ago { ago_us: 300_000_000 });
                params.named.insert("to".to_owned(), Param::All);
                let ctx = QueryContext::new(store.snapshot(), 0).with_params(params);
                let sql = query.sql(|name| chosen.contains(&name));
                let live = engine.plan_live(&ctx, &sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
                assert_eq!(live.reason(), None, "{}: {sql}", panel.id);
            }
        }
    }
}

fn names(keys: &[Key]) -> BTreeSet<&str> {
    keys.iter().map(|key| key.name).collect()
}

fn schema_names(schema: &Value) -> BTreeSet<&str> {
    schema["properties"].as_object().unwrap().keys().map(String::as_str).collect()
}

fn check_keys(schema: &Value, table: &Value, what: &str) {
    let (known, used) = (schema_names(schema), table.as_object().unwrap());
    assert!(used.keys().all(|key| known.contains(key.as_str())), "{what} has keys beyond {known:?}");
    let required = schema["required"].as_array().unwrap();
    assert!(
        required.iter().all(|key| used.contains_key(key.as_str().unwrap())),
        "{what} lacks one of {required:?}"
    );
}

/// The names in the first column of the table under a heading of the documentation.
fn documented(heading: &str) -> BTreeSet<&'static str> {
    let section = DOCS.split_once(&format!("\n## {heading}\n")).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let names = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.map(|name| name.trim_matches(['[', ']'])).collect()
}

#[test]
fn parser_documentation_and_schema_know_the_same_keys() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let contract = [
        (keys::DASHBOARD, "The file", &schema),
        (keys::VARIABLE, "Variables", &schema["$defs"]["variable"]),
        (keys::PANEL, "Panels", &schema["$defs"]["panel"]),
    ];
    for (keys, heading, schema) in contract {
        assert_eq!(documented(heading), names(keys), "docs/dashboards.md, {heading}");
        assert_eq!(schema_names(schema), names(keys), "docs/dashboards.schema.json, {heading}");
        assert_eq!(schema["additionalProperties"], json!(false));
    }
    let charts: Vec<&str> = Chart::ALL.iter().map(|chart| chart.name()).collect();
    assert_eq!(schema["$defs"]["panel"]["properties"]["chart"]["enum"], json!(charts));
    assert_eq!(documented("Charts"), charts.into_iter().collect());
}

/// Replaces `old` by `new` in the good dashboard and expects a mistake at `line:column`.
fn check(old: &str, new: &str, place: &str, message: &str, hint: &str) {
    assert!(SHOP.contains(old), "{old}");
    let text = SHOP.replacen(old, new, 1);
    let mistake = parse("shop.toml", "shop", &text).expect_err(new);
    let found = format!("{}:{}", mistake.line, mistake.column);
    assert_eq!(found, place, "{new}: {mistake}");
    assert!(mistake.message.contains(message), "{mistake}");
    assert!(mistake.hint.contains(hint), "{mistake}");
    assert!(mistake.to_string().starts_with(&format!("shop.toml:{place}: ")));
}

#[test]
fn mistakes_name_line_column_cause_and_remedy() {
    check("chart = \"stat\"", "chrt = \"stat\"", "11:1", "unknown key \"chrt\"", "did you mean \"chart\"?");
    check("title = \"Shop\"", "titel = \"Shop\"", "1:1", "unknown key \"titel\"", "did you mean \"title\"?");
    check("multi = true", "multiple = true", "7:1", "unknown key \"multiple\"", "did you mean \"multi\"?");
    check("multi = true", "zzz = 1", "7:1", "unknown key \"zzz\"", "a variable has the keys name, title");
    check("multi = true", "multi = \"true\"", "7:9", "multi is true or false", "multi = true");
    check("title = \"Shop\"", "title = 7", "1:9", "title is a text", "title = \"Shop\"");
    check("title = \"Shop\"\n", "", "1:1", "needs the key \"title\"", "add title =");
    check("title = \"Shop\"", "title = \"Shop", "1:14", "basic string", "https://toml.io");
    check("range = \"5m\"", "range = \"5 minutes\"", "2:9", "range is a time", "range = \"5m\"");
    check("range = \"5m\"", "range = \"0s\"", "2:9", "range is a time", "s, m, h or d");
    check("range = \"5m\"", "range = \"é\"", "2:9", "range is a time", "s, m, h or d");
    check("name = \"country\"", "name = \"from\"", "5:8", "time range already", "another name");
    check("name = \"country\"", "name = \"a b\"", "5:8", "cannot stand in a query", "a letter first");
    check("query = \"SELECT DISTINCT country FROM users\"\n", "", "4:1", "has no choices", "options = [");
    check("multi = true", "options = [\"a\"]", "7:11", "both query and options", "keep one");
    check("multi = true", "options = []", "7:11", "options is a list", "write options");
    check("[[variable]]", "[variable]", "4:1", "two pairs of brackets", "[[variable]]");
    check("chart = \"stat\"", "chart = \"stats\"", "11:9", "no chart \"stats\"", "did you mean \"stat\"?");
    check("chart = \"stat\"", "chart = \"heatmap\"", "11:9", "not built yet", "chart = \"table\"");
    check("chart = \"stat\"", "chart = \"gantt\"", "11:9", "no chart", "use one of stat, line, area");
    check(
        "chart = \"stat\"",
        "chart = \"line\"",
        "13:11",
        "compare does nothing on chart = \"line\"",
        "stat",
    );
    check(
        "at = [0, 0, 4, 2]",
        "at = [0, 0, 4]",
        "12:6",
        "four whole numbers",
        "[column, row, width, height]",
    );
    check("at = [0, 0, 4, 2]", "at = [0, 0, 4, 2.5]", "12:6", "four whole numbers", "at = [0, 0, 4, 2]");
    check("at = [0, 0, 4, 2]", "at = [12, 0, 4, 2]", "12:7", "the column is 0 to 11, not 12", "change it");
    check("at = [0, 0, 4, 2]", "at = [0, 0, 4, 0]", "12:16", "the height is 1 to 100", "change it");
    check(
        "at = [4, 0, 8, 2]",
        "at = [5, 0, 8, 2]",
        "24:6",
        "ends at column 13",
        "7 wide, or begin at column 4",
    );
    check(
        "at = [4, 0, 8, 2]",
        "at = [3, 1, 8, 2]",
        "24:6",
        "lies over \"Sales, last 5 minutes\"",
        "row 2 is",
    );
    check("at = [0, 0, 4, 2]\n", "", "9:1", "a panel needs the key \"at\"", "add at = [0, 0, 4, 2]");
    check(
        "title = \"Sales by country\"",
        "title = \"Sales! Last 5 minutes\"",
        "22:9",
        "of line 9",
        "id of its own",
    );
    check(
        "title = \"Sales by country\"",
        "title = \"x\"\nid = \"A/b\"",
        "23:6",
        "cannot be a panel's id",
        "-",
    );
    check("title = \"Sales by country\"", "title = \"…\"", "22:9", "cannot be a panel's id", "small letters");
    check("query = \"SELECT country,", "query = \"\" # ", "26:9", "query is empty", "write query =");
    check("ts >= $from AND ts < $to", "ts >= $from", "13:11", "both ends of its range", "created_at < $to");
    check(
        "IN ($country)",
        "IN ($contry)",
        "17:21",
        "there is no variable $contry",
        "did you mean \"country\"?",
    );
    check("ts >= $from\"", "ts >= $since\"", "19:50", "there is no variable $since", "name = \"since\"");
    check(
        "filter = \"country\"",
        "filter = \"county\"",
        "25:10",
        "no variable \"county\"",
        "mean \"country\"?",
    );
    check("filter = \"country\"", "min = 3", "25:7", "min does nothing on chart = \"bar\"", "gauge");
    check("filter = \"country\"", "unit = \"\"", "25:8", "unit is a text of 1 to 16", "unit = \"USD\"");
}

#[test]
fn more_mistakes_of_whole_files() {
    let mistake = |text: &str| parse("x.toml", "x", text).unwrap_err();
    assert!(mistake("title = \"x\"").message.contains("no panel"));
    let panel = |keys: &str| format!("title = \"x\"\n[[panel]]\ntitle = \"p\"\nat = [0, 0, 1, 1]\n{keys}");
    let text = "chart = \"text\"\ntext = \"hello\"";
    assert!(parse("x.toml", "x", &panel(text)).is_ok());
    assert!(mistake(&panel("chart = \"text\"\nquery = \"SELECT 1\"")).message.contains("no query"));
    assert!(mistake(&panel("chart = \"text\"")).message.contains("needs the key \"text\""));
    assert!(mistake(&panel("chart = \"gauge\"")).message.contains("needs the key \"query\""));
    let gauge = "chart = \"gauge\"\nquery = \"SELECT 1\"\nmin = 5\nmax = 4.5";
    assert!(mistake(&panel(gauge)).message.contains("ends at or before"));
    assert!(parse("x.toml", "x", &panel(&gauge.replace("4.5", "1_0"))).is_ok());
    let many = "[[panel]]\n".repeat(PANELS_MAX + 1);
    assert!(mistake(&format!("title = \"x\"\n{many}")).message.contains("at most 64"));
    let twice = "[[variable]]\nname = \"a\"\noptions = [\"1\"]\n".repeat(2);
    assert!(mistake(&format!("title = \"x\"\n{twice}")).message.contains("two variables"));
    // Whatever the text is, it is a dashboard or a mistake, never a panic.
    for end in (0..SHOP.len()).filter(|&end| SHOP.is_char_boundary(end)) {
        drop(parse("x.toml", "x", &SHOP[..end]));
        drop(parse("x.toml", "x", &SHOP[end..]));
    }
}

#[test]
fn ids_are_made_of_titles() {
    assert_eq!(slug("Revenue by country, last 5 minutes"), "revenue-by-country-last-5-minutes");
    assert_eq!(slug("  Größe (in m)! "), "größe-in-m");
    assert_eq!(slug("…"), "");
}

#[test]
fn brackets_stay_while_their_variables_are_set() {
    let dir = tempfile::tempdir().unwrap();
    let sql = "SELECT ARRAY[[1, 2], [3, 4]], '$no [[$a]]' FROM t WHERE x > $from [[AND a = $a]] \
               [[AND b IN (SELECT b FROM u WHERE a = $A AND b = $b)]] -- [[$no\n";
    let text = format!(
        "title = \"x\"\n[[variable]]\nname = \"a\"\noptions = [\"1\"]\n[[variable]]\nname = \"b\"\noptions = \
         [\"1\"]\n[[variable]]\nname = \"c\"\noptions = [\"1\"]\n[[panel]]\ntitle = \"p\"\nchart = \"table\"\nat = \
         [0, 0, 1, 1]\nquery = '''\n{sql}'''\n"
    );
    fs::write(dir.path().join("x.toml"), text).unwrap();
    let library = Library::open(dir.path()).unwrap();
    let query = library.resolve("x/p").unwrap();
    assert_eq!(query.variables, ["a", "b"]);
    let rest =
        |sql: String| sql.split_once("$from").unwrap().1.split(" --").next().unwrap().trim().to_owned();
    assert!(query.sql(|_| false).starts_with("SELECT ARRAY[[1, 2], [3, 4]], '$no "));
    assert_eq!(rest(query.sql(|_| false)), "");
    assert_eq!(rest(query.sql(|name| name == "a")), "AND a = $a");
    let both = query.sql(|name| name.eq_ignore_ascii_case("a") || name == "b");
    assert_eq!(rest(both), "AND a = $a AND b IN (SELECT b FROM u WHERE a = $A AND b = $b)");
}

#[test]
fn the_range_before_is_as_long() {
    let us = |seconds: i64| seconds * 1_000_000;
    let now = us(1_000_000);
    let (ago, at) = (|s| Moment::Ago(us(s)), |s| Moment::At(us(s)));
    let check = |from, to, before_from, before_to| {
        let before = Range { from, to }.before(now);
        assert_eq!(before, Range { from: before_from, to: Some(before_to) });
    };
    check(ago(300), None, ago(600), ago(300));
    check(ago(300), Some(ago(100)), ago(500), ago(300));
    check(at(1_000), Some(at(1_060)), at(940), at(1_000));
    check(at(999_000), None, at(998_000), at(999_000));
    assert_eq!(Range::last(300), Range { from: ago(300), to: None });
}

#[test]
fn paths_find_panels_or_say_why_not() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("shop.toml"), SHOP).unwrap();
    fs::write(dir.path().join("bad.toml"), "title = 1").unwrap();
    fs::write(dir.path().join("notes.txt"), "not a dashboard").unwrap();
    fs::write(dir.path().join("über.toml"), SHOP).unwrap();
    let library = Library::open(dir.path()).unwrap();
    let names: Vec<String> = library.list().iter().map(|entry| entry.name.clone()).collect();
    assert_eq!(names, ["bad", "shop", "über"]);
    let main = library.resolve("shop/sales-last-5-minutes").unwrap();
    assert_eq!((main.part, main.range_s), (Part::Main, 300));
    assert_eq!(main.range(None, 0), Range::last(300));
    assert!(main.sql(|_| false).trim_end().ends_with("ts < $to"));
    let compare = library.resolve("shop/sales-last-5-minutes/compare").unwrap();
    assert_eq!(compare.range(None, 0).to, Some(Moment::Ago(300_000_000)));
    assert_eq!(compare.sql(|_| true), main.sql(|_| true));
    assert!(
        library.resolve("shop/sales-last-5-minutes/spark").unwrap().sql(|_| true).starts_with("SELECT ts")
    );

    let cases = [
        ("shop", "names no panel", "DASHBOARD/PANEL"),
        ("shop/a/b", "names no panel", "spark"),
        ("shop/sales-by-country/compare", "has no compare", "compare = true"),
        ("shop/sales-by-country/spark", "has no spark", "spark ="),
        ("shop/sales-by-countri", "has no panel", "did you mean \"sales-by-country\"?"),
        ("shopp/x", "there is no dashboard", "did you mean \"shop\"?"),
        ("weather/x", "there is no dashboard", "put weather.toml into"),
        ("bad/x", "cannot be read", "bad.toml:1:9: title is a text"),
        ("über/x", "cannot be read", "rename the file"),
    ];
    for (path, message, hint) in cases {
        let error = library.resolve(path).unwrap_err();
        assert!(error.message.contains(message) && error.hint.contains(hint), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_saved_file_moves_its_dashboard_and_a_bad_one_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.toml");
    fs::write(&path, SHOP).unwrap();
    let library = Library::open(dir.path()).unwrap();
    let mut changed = library.subscribe();
    let first = library.get("shop").unwrap();
    assert_eq!(first.summary(), json!({"name": "shop", "title": "Shop", "panels": 2, "error": null}));

    // As editors do it: a new file is renamed over the old one. The watch finds it by itself.
    let new = dir.path().join(".shop.toml.swp");
    fs::write(&new, SHOP.replace("\"Shop\"", "\"The shop\"")).unwrap();
    fs::rename(&new, &path).unwrap();
    tokio::time::timeout(Duration::from_secs(20), changed.changed()).await.unwrap().unwrap();
    let second = library.get("shop").unwrap();
    assert_eq!(second.definition()["title"], "The shop");
    assert!(second.revision > first.revision);

    fs::write(&path, SHOP.replace("chart = \"bar\"", "chrt = \"bar\"")).unwrap();
    library.refresh();
    let bad = library.get("shop").unwrap();
    assert!(bad.revision > second.revision);
    assert_eq!(bad.to_json()["title"], "The shop");
    let error = bad.error().unwrap();
    assert_eq!((&error["line"], &error["column"]), (&json!(23), &json!(1)));
    assert!(error["file"].as_str().unwrap().ends_with("shop.toml"));
    assert_eq!(error["hint"], "did you mean \"chart\"?");
    assert!(library.resolve("shop/sales-by-country").is_ok());

    fs::write(&path, SHOP).unwrap();
    library.refresh();
    assert_eq!(library.get("shop").unwrap().error(), None);
    let revision = library.get("shop").unwrap().revision;
    library.refresh();
    assert_eq!(library.get("shop").unwrap().revision, revision);

    fs::remove_file(&path).unwrap();
    library.refresh();
    library.refresh();
    assert!(library.get("shop").is_err());
    fs::write(&path, SHOP).unwrap();
    library.refresh();
    assert!(library.get("shop").unwrap().revision > revision);
}

#[test]
fn files_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("large.toml"), "#".repeat(FILE_BYTES_MAX as usize + 1)).unwrap();
    fs::write(dir.path().join("latin.toml"), b"title = \"x\"\n# \xff").unwrap();
    let library = Library::open(dir.path()).unwrap();
    let mistake = |name: &str| library.get(name).unwrap().mistake.clone().unwrap();
    assert!(mistake("large").message.contains("at most 262144"));
    assert_eq!((mistake("latin").line, mistake("latin").hint.as_str()), (2, "save the file as UTF-8"));
}
