//! Python: tracebacks, chained and grouped ones too.

use super::State::{Begin, Conclusion, Frames, Gap, Group, Head, Link, LinkGap, OtherFrames, Plain, Quotation};
use super::{EMPTY, Rule};

pub(super) const RULES: &[Rule] = &[
    EMPTY,
    (&[Begin, Plain, LinkGap, Quotation], r"^Traceback \(most recent call last\):$", Head),
    (&[Begin, Plain, LinkGap], r"^[ \t]+\+ Exception Group Traceback \(most recent call last\):$", Group),
    // Of a logger that indents it, or a syntax error, which has a place and no traceback.
    (&[Begin, Plain], r"^[ \t]+Traceback \(most recent call last\):$", OtherFrames),
    (&[Begin, Plain, LinkGap], r#"^[ \t]+File ".*", line \d+"#, OtherFrames),
    // asyncio tells the error in one line and the task in the next.
    (&[Plain], r"^(?:future|task|handle): <", Plain),
    (&[Head, Frames], r"^[ \t]", Frames),
    (&[OtherFrames], r"^[ \t]", OtherFrames),
    (&[Head, Frames], r"^[A-Za-z_\x80-\xff][\w.<>\x80-\xff]*(?::(?: |$)| *$)", Conclusion),
    (&[OtherFrames], r"^[A-Za-z_][\w.<>]*(?:Error|Exception|Warning|Interrupt|Exit|Group)(?:: | *$)", Conclusion),
    (&[Conclusion], r"^[ \t]", Conclusion),
    // What drivers of databases append.
    (
        &[Conclusion],
        r"^(?:LINE \d+: |(?:DETAIL|HINT|CONTEXT): |\[SQL: |\[parameters: |\(Background on this error at: )",
        Conclusion,
    ),
    // Between these the trace of another process is quoted.
    (&[Conclusion], r#"^"""$"#, Quotation),
    (&[Group], r"^[ \t]+[|+]", Group),
    (&[Conclusion, Group, Quotation], r"^$", Gap),
    (&[Gap], r"^(?:During handling of the above exception, |The above exception was the direct cause )", Link),
    (&[Link], r"^$", LinkGap),
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use crate::config::Preset::Python;

    const BEFORE: &str = "2026-11-21 12:18:53,120 INFO shop.checkout order 4711 accepted";
    const AFTER: &str = "WARNING:shop.stock:2 items left";

    #[test]
    fn the_line_of_the_log_and_its_traceback() {
        check(
            Python,
            &[
                BEFORE,
                "ERROR:shop.checkout:order 4712 failed
Traceback (most recent call last):
  File \"/srv/shop/checkout.py\", line 112, in place
    total = sum(item.price / item.count for item in basket)
                ~~~~~~~~~~~^~~~~~~~~~~~
  File \"/srv/shop/basket.py\", line 7, in <genexpr>
  [Previous line repeated 996 more times]
ZeroDivisionError: division by zero",
                AFTER,
                "done",
                "",
                "Traceback (most recent call last):
  File \"a.py\", line 1, in <module>
KeyboardInterrupt",
                "",
                "Traceback (most recent call last):
  File \"a.py\", line 1, in <module>
shop.errors.Basket.Closed: basket 7:
  closed since yesterday",
                "done",
                BEFORE,
            ],
        );
    }

    #[test]
    fn chained_tracebacks() {
        check(
            Python,
            &[
                "Traceback (most recent call last):
  File \"a.py\", line 2, in load
    return cache[key]
           ~~~~~^^^^^
KeyError: 'total'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"a.py\", line 4, in load
    raise Missing(key) from None
__main__.load.<locals>.Missing: total

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File \"a.py\", line 9, in <module>
sqlalchemy.exc.IntegrityError: (psycopg2.errors.UniqueViolation) duplicate key value
DETAIL:  Key (id)=(1) already exists.",
                "",
                AFTER,
            ],
        );
        let error = "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\nOSError";
        check(Python, &[error, "", "", error, error, "", AFTER]);
        check(Python, &[&format!("{error}\n\nDuring handling of the above exception, another exception occurred:"), "", AFTER]);
    }

    #[test]
    fn groups() {
        check(
            Python,
            &[
                "  + Exception Group Traceback (most recent call last):
  |   File \"a.py\", line 9, in <module>
  |     raise ExceptionGroup(\"two\", errors)
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File \"a.py\", line 3, in <module>
    | ValueError: first
    +---------------- 2 ----------------
    | KeyError: 'second'
    | 
    | During handling of the above exception, another exception occurred:
    +------------------------------------

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"a.py\", line 12, in <module>
RuntimeError: third",
                AFTER,
            ],
        );
    }

    #[test]
    fn errors_that_are_not_only_a_traceback() {
        check(
            Python,
            &[
                BEFORE,
                "",
                "  File \"a.py\", line 1
    if x = 1:
       ^^^^^
SyntaxError: invalid syntax. Maybe you meant '==' or ':=' instead of '='?",
                AFTER,
                "ERROR:asyncio:Task exception was never retrieved
future: <Task finished name='Task-1' coro=<f() done, defined at a.py:1> exception=ValueError('no')>
Traceback (most recent call last):
  File \"a.py\", line 2, in f
ValueError: no",
                "concurrent.futures.process._RemoteTraceback: starts here
Traceback (most recent call last):
  File \"b.py\", line 2, in f
multiprocessing.pool.RemoteTraceback: 
\"\"\"
Traceback (most recent call last):
  File \"c.py\", line 2, in g
ValueError: no
\"\"\"

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File \"b.py\", line 8, in h
ValueError: no",
                AFTER,
                "",
                "Traceback (most recent call last):
MemoryError

During handling of the above exception, another exception occurred:

  + Exception Group Traceback (most recent call last):
  | ExceptionGroup: one (1 sub-exception)
  +-+---------------- 1 ----------------
    | OSError
    +------------------------------------

During handling of the above exception, another exception occurred:

  File \"a.py\", line 1
    if x = 1:
SyntaxError: invalid syntax",
                "12:00:00 ERROR indented
    Traceback (most recent call last):
      File \"a.py\", line 2, in f
    ValueError: no",
                "started",
            ],
        );
    }
}
