//! Scripts that alternate rows in and changes out.
//!
//! A line of a script is a moment: `+ sym n x ts s` adds rows (`;` between them, `-` for NULL, the time in
//! seconds), `- seq…` deletes, `tick s` moves the clock, `= seq: row` replaces. What comes out is `+ row` for a
//! row put in, `- key` for one that went.

use expect_test::{Expect, expect};

use super::*;
use crate::view::View;

fn parse(text: &str) -> TestRow {
    let words: Vec<&str> = text.split_whitespace().collect();
    let word = |i: usize| words.get(i).copied().filter(|w| *w != "-");
    let leak = |w: &str| -> &'static str { Box::leak(w.to_owned().into_boxed_str()) };
    TestRow {
        sym: word(0).map(leak),
        n: word(1).map(|w| w.parse().unwrap()),
        x: word(2).map(|w| w.parse().unwrap()),
        ts_ms: word(3).map(|w| (w.parse::<f64>().unwrap() * 1e3) as i64),
        s: word(4).map(leak),
    }
}

fn run(plan: ViewPlan, limits: &ViewLimits, script: &str) -> String {
    let mut view = View::new(Arc::new(plan), limits).unwrap();
    let mut version = nowcast_model::Version::ZERO;
    let mut live = LiveTable::new(Arc::clone(view.schema()), version, limits);
    let mut table = TestTable::default();
    let mut out = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        out += &format!("{line}\n");
        let (op, rest) = line.split_once(' ').unwrap_or((line, ""));
        let change = match op {
            "+" => Some(table.insert(rest.split(';').map(parse).collect())),
            "-" => {
                let seqs: Vec<u64> = rest.split_whitespace().map(|w| w.parse().unwrap()).collect();
                Some(table.delete(&seqs))
            }
            "=" => {
                let (seq, row) = rest.split_once(':').unwrap();
                Some(table.replace(seq.trim().parse().unwrap(), parse(row)))
            }
            "tick" => {
                view.tick(at_s(rest.parse().unwrap())).unwrap();
                None
            }
            other => panic!("unknown operation {other}"),
        };
        if let Some(Change::Rows(change)) = change {
            view.apply(&change).unwrap();
        }
        let before = version;
        version = version.next();
        view.publish(version, &mut live).unwrap();
        let mut changes = live.changes_since(Some(before));
        changes.sort(live.schema());
        changes.delete.sort();
        for key in changes.delete {
            out += &format!("    - {}\n", show_row(&key));
        }
        for row in changes.upsert {
            out += &format!("    + {}\n", show_row(&row));
        }
        if changes.truncated {
            out += "    truncated\n";
        }
        if let Some(why) = view.needs_reseed() {
            out += &format!("    reseed: {why}\n");
        }
    }
    out
}

fn check(plan: ViewPlan, script: &str, expected: Expect) {
    expected.assert_eq(&run(plan, &ViewLimits::default(), script));
}

#[test]
fn groups_come_change_and_go() {
    let sums =
        vec![count(), agg(AggFunction::Sum, N), agg(AggFunction::Avg, X), agg(AggFunction::CountDistinct, S)];
    check(
        groups(vec![col(SYM)], sums),
        "+ a 1 0.5 1 u; b 2 1.5 1 u; a 3 1.5 2 v
         + - 5 NaN 2 -
         - 0
         = 1: b 7 inf 1 w
         - 2 5",
        expect![[r#"
            + a 1 0.5 1 u; b 2 1.5 1 u; a 3 1.5 2 v
                + a 2 4 1.0 2
                + b 1 2 1.5 1
            + - 5 NaN 2 -
                + - 1 5 NaN 0
            - 0
                + a 1 3 1.5 1
            = 1: b 7 inf 1 w
                + b 1 7 inf 1
            - 2 5
                - a
                - b
        "#]],
    );
}

#[test]
fn a_global_aggregate_always_has_its_row() {
    check(
        groups(vec![], vec![count(), agg(AggFunction::Sum, N), agg(AggFunction::Max, SYM)]),
        "tick 1
         + a 1 - 1 -; b - - 1 -
         - 0 1",
        expect![[r#"
            tick 1
                + 0 - -
            + a 1 - 1 -; b - - 1 -
                + 2 1 b
            - 0 1
                + 0 - -
        "#]],
    );
}

#[test]
fn rows_enter_late_and_leave_later() {
    let bound = |seconds: i64, inclusive| Some(Bound { offset_us: seconds * 1_000_000, inclusive });
    let window = Window { column: TS, lower: bound(-10, true), upper: bound(-5, false) };
    check(
        within(window, groups(vec![col(SYM)], vec![count()])),
        "tick 100
         + a - - 100 -; b - - 94.5 -; c - - 90 -; d - - 89.9 -; e - - 95 -; f - - - -
         tick 101
         tick 105
         tick 106
         - 0
         tick 110",
        expect![[r#"
            tick 100
            + a - - 100 -; b - - 94.5 -; c - - 90 -; d - - 89.9 -; e - - 95 -; f - - - -
                + b 1
                + c 1
            tick 101
                - c
                + e 1
            tick 105
                - b
            tick 106
                - e
                + a 1
            - 0
                - a
            tick 110
        "#]],
    );
}

#[test]
fn the_first_rows_move_up() {
    let order = vec![(0, Direction::Desc)];
    check(
        ViewPlan { order: order.clone(), limit: Some(2), ..rows(&[N, SYM]) },
        "+ a 1 - 1 -; b 2 - 1 -; c 3 - 1 -
         + d 2 - 1 -
         - 2
         + e - - 1 -
         - 4 6",
        expect![[r#"
            + a 1 - 1 -; b 2 - 1 -; c 3 - 1 -
                + 3 c #2
                + 2 b #1
            + d 2 - 1 -
            - 2
                - #2
                + 2 d #3
            + e - - 1 -
                - #3
                + - e #5
            - 4 6
        "#]],
    );
    check(
        ViewPlan {
            order: vec![(1, Direction::Desc)],
            limit: Some(1),
            having: Some(greater(1, 1)),
            ..groups(vec![col(SYM)], vec![count()])
        },
        "+ a - - 1 -
         + b - - 1 -; b - - 1 -
         + a - - 1 -; a - - 1 -
         - 0 3",
        expect![[r#"
            + a - - 1 -
            + b - - 1 -; b - - 1 -
                + b 2
            + a - - 1 -; a - - 1 -
                - b
                + a 3
            - 0 3
                - a
                + b 2
        "#]],
    );
}

#[test]
fn more_rows_than_may_be_shown_are_cut_off_and_said_so() {
    let limits = ViewLimits { rows_max: 2, ..ViewLimits::default() };
    let script = "+ b - - 1 -; a - - 1 -
                  + c - - 1 -; A - - 1 -
                  - 1
                  - 3";
    expect![[r#"
        + b - - 1 -; a - - 1 -
            + a 1
            + b 1
        + c - - 1 -; A - - 1 -
            - b
            + A 1
            truncated
        - 1
            - a
            + b 1
            truncated
        - 3
            - A
            + c 1
    "#]]
    .assert_eq(&run(groups(vec![col(SYM)], vec![count()]), &limits, script));
}

#[test]
fn what_the_cheap_path_cannot_follow_asks_for_a_reseed() {
    let plan = groups(vec![col(SYM)], vec![agg(AggFunction::Min, N), agg(AggFunction::Max, N)]);
    let hints = plan.hints.clone();
    check(
        plan,
        "+ a 1 - 1 -; a 2 - 1 -; a 3 - 1 -; b 1 - 1 -
         - 1
         - 3
         - 0",
        expect![[r#"
            + a 1 - 1 -; a 2 - 1 -; a 3 - 1 -; b 1 - 1 -
                + a 1 3
                + b 1 1
            - 1
            - 3
                - b
            - 0
                reseed: a row that held a minimum or maximum went
        "#]],
    );
    assert!(hints.retracts());
    let limits = ViewLimits { rows_max: 10, spare_rows_min: 1, ..ViewLimits::default() };
    let plan = ViewPlan { limit: Some(1), order: vec![(0, Direction::Asc)], ..rows(&[N]) };
    let script = "+ a 1 - 1 -; a 2 - 1 -; a 3 - 1 -; a 4 - 1 -
                  - 0
                  - 1";
    expect![[r#"
        + a 1 - 1 -; a 2 - 1 -; a 3 - 1 -; a 4 - 1 -
            + 1 #0
        - 0
            - #0
            + 2 #1
        - 1
            reseed: more rows went than were kept in reserve
    "#]]
    .assert_eq(&run(plan, &limits, script));
}

#[test]
fn rows_of_a_window_fill_up_from_its_panes() {
    let limits = ViewLimits { spare_rows_min: 1, ..ViewLimits::default() };
    let order = vec![(0, Direction::Asc)];
    let plan = within(last(3_000), ViewPlan { order, limit: Some(1), ..rows(&[TS]) });
    let script = "tick 10
                  + a - - 8 -; a - - 9 -; a - - 10 -; a - - 10.5 -
                  tick 12
                  tick 13
                  tick 14";
    expect![[r#"
        tick 10
        + a - - 8 -; a - - 9 -; a - - 10 -; a - - 10.5 -
            + @8 #0
        tick 12
            - #0
            + @9 #1
        tick 13
            - #1
            + @10 #2
        tick 14
            - #2
    "#]]
    .assert_eq(&run(plan, &limits, script));
}

/// Found by the property test: the deletion lay in a later chunk of the pane than its row, and brought the row
/// back when both left.
#[test]
fn a_deleted_row_leaves_its_window_once() {
    check(
        within(last(3_000), rows(&[])),
        "tick 10
         + a - - 10 -; b - - 10 -; c - - 10 -; d - - 10 -; e - - 10 -
         - 0
         tick 14",
        expect![[r#"
            tick 10
            + a - - 10 -; b - - 10 -; c - - 10 -; d - - 10 -; e - - 10 -
                + #0
                + #1
                + #2
                + #3
                + #4
            - 0
                - #0
            tick 14
                - #1
                - #2
                - #3
                - #4
        "#]],
    );
}

#[test]
fn a_large_batch_is_sorted_by_columns() {
    let plan = ViewPlan { limit: Some(2), order: vec![(0, Direction::Desc)], ..rows(&[N]) };
    let limits = ViewLimits { spare_rows_min: 2, ..ViewLimits::default() };
    let mut view = View::new(Arc::new(plan.clone()), &limits).unwrap();
    let mut table = TestTable::default();
    let mut live = LiveTable::new(Arc::clone(view.schema()), nowcast_model::Version::ZERO, &limits);
    for round in 0..3 {
        let row = |n: i64| TestRow { sym: None, n: (n % 7 != 0).then_some(n), x: None, ts_ms: None, s: None };
        let Change::Rows(change) = table.insert((0..100).map(|n| row(n * (3 - round))).collect()) else {
            panic!()
        };
        view.apply(&change).unwrap();
        view.publish(nowcast_model::Version::new(round as u64 + 1), &mut live).unwrap();
        let expected = oracle::evaluate(&plan, &[table.all()], at_s(0), limits.rows_max).unwrap();
        let mut shown = live.changes_since(None);
        shown.sort(live.schema());
        oracle::same(&expected.rows, &shown.upsert, 0.0).unwrap();
    }
}

#[test]
fn plans_and_states_that_cannot_be_are_refused() {
    let refuse = |plan: ViewPlan| View::new(Arc::new(plan), &ViewLimits::default()).map(drop).unwrap_err();
    assert!(matches!(refuse(groups(vec![], vec![agg(AggFunction::Sum, S)])), ViewError::Plan(_)));
    assert!(matches!(refuse(ViewPlan { key: vec![9], ..groups(vec![], vec![count()]) }), ViewError::Plan(_)));
    assert!(matches!(refuse(ViewPlan { key: vec![], ..rows(&[N]) }), ViewError::Plan(_)));
    let limits = ViewLimits { state_bytes_max: 10_000, ..ViewLimits::default() };
    let mut view = View::new(Arc::new(groups(vec![col(N)], vec![count()])), &limits).unwrap();
    let row = |n| TestRow { sym: None, n: Some(n), x: None, ts_ms: None, s: None };
    let Change::Rows(change) = TestTable::default().insert((0..1_000).map(row).collect()) else { panic!() };
    let error = view.apply(&change).unwrap_err().to_string();
    assert!(error.contains("views.state_bytes_max"), "{error}");
}
