//! JavaScript: `Error.stack`, and what Node.js writes when nobody catches one.

use super::State::{Begin, End, Frames, Gap, Head, Location, Marker, Message, OtherGap, Over, Plain, Properties, Source};
use super::{EMPTY, LOG_LINE, Rule};

pub(super) const RULES: &[Rule] = &[
    EMPTY,
    // The place, the line of the source, the mark, an empty line, and whatever was thrown.
    (&[Begin], r"^(?:file://|/|node:|[A-Za-z]:[\\/]).*:\d+$", Location),
    (&[Location], r"\S", Source),
    (&[Source], r"^[ \t]*\^+[ \t]*$", Marker),
    (&[Marker], r"^$", Gap),
    (&[Gap], r"[{\[]$", Properties),
    (&[Gap], r"\S", Head),
    (&[Begin], r"^(?:Uncaught |\[)?(?:[A-Za-z_$][\w$.]*)?(?:Error|Exception|Rejection)\b.*\{$", Properties),
    (&[Begin], r"^(?:Uncaught )?(?:[A-Za-z_$][\w$.]*)?(?:Error|Exception|Rejection)(?: \[\w+\])?(?::|$)", Head),
    (&[Plain, Head, Message, Frames], r"^[ \t]+(?:at \S|\.\.\. \d+ lines matching ).*\{$", Properties),
    (&[Plain, Head, Message, Frames], r"^[ \t]+(?:at \S|\.\.\. \d+ lines matching )", Frames),
    (&[Properties], r"^[ \t]", Properties),
    (&[Properties], r"^[}\]]", Frames),
    (&[Head, Message, Frames, OtherGap], r"^[ \t]*(?i:caused by):(?: \[?[\w$.]*(?:Error|Exception)\b|$)", Head),
    (&[Head, Frames], r"^(?:Thrown at|From previous event):$", Frames),
    (&[Plain, Head, Frames], r"^\(Use `node --trace-", Frames),
    (&[Frames], r"^$", OtherGap),
    (&[Message, OtherGap], r"^Node\.js v\d", End),
    (&[Head, Message], LOG_LINE, Over),
    (&[Head, Message], r"(?:Error|Exception)(?:: |$)", Over),
    (&[Head, Message], "", Message),
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use crate::config::Preset::JavaScript;

    const BEFORE: &str = "[2026-11-21 12:18:53] order 4711 accepted";
    const AFTER: &str = "2 items left";

    #[test]
    fn stacks() {
        check(
            JavaScript,
            &[
                BEFORE,
                "order 4712 failed TypeError: Cannot read properties of undefined (reading 'price')
    at Basket.add (/srv/shop/basket.js:41:11)
    at async Promise.all (index 0)
    at new Checkout (file:///srv/shop/checkout.mjs:9:3)
    at <anonymous>",
                AFTER,
                "Error: no\n    at f (/srv/a.js:1:2)",
                "Error: no\n    at f (/srv/a.js:1:2)\nCaused by: Error: why\n    at g (/srv/a.js:3:4)",
                "Error: no\n    at f (/srv/a.js:1:2)\nFrom previous event:\n    at g (/srv/a.js:3:4)\n\nCaused by:\n    at h (/srv/a.js:5:6)",
                "failed Error: no\n    at f (/srv/a.js:1:2) {\n  code: 'ENO'\n}",
                "(node:4242) Warning: deprecated\n(Use `node --trace-warnings ...` to show where the warning was created)",
                AFTER,
            ],
        );
    }

    #[test]
    fn errors_that_nobody_catches() {
        check(
            JavaScript,
            &[
                BEFORE,
                "/srv/shop/server.js:10
    throw new Error('basket is closed', { cause });
    ^

Error: basket is closed
    at Object.<anonymous> (/srv/shop/server.js:10:11)
    ... 7 lines matching cause stack trace ...
    at node:internal/main/run_main_module:23:47 {
  code: 'ECLOSED',
  [cause]: Error: no more baskets
      at close (/srv/shop/basket.js:3:9) {
    basket: 7
  }
}

Node.js v22.11.0",
                AFTER,
                "node:internal/process/promises:394
      triggerUncaughtException(err, true /* fromPromise */);
      ^

[UnhandledPromiseRejection: This error originated either by throwing inside of an async function] {
  code: 'ERR_UNHANDLED_REJECTION'
}

Node.js v22.11.0",
                "/srv/shop/server.js:3
throw 'no'
^

no
(Use `node --trace-uncaught ...` to show where the exception was thrown)

Node.js v22.11.0",
                AFTER,
                "/srv/shop/server.js:3",
                "not its source",
                "",
                AFTER,
            ],
        );
    }

    #[test]
    fn properties() {
        check(
            JavaScript,
            &[
                "[Error: ENOENT: no such file or directory, open '/a'] {
  errno: -2,
  code: 'ENOENT'
}",
                AFTER,
                "AggregateError: all failed
    at async Promise.any (index 0) {
  [errors]: [
    Error: one
        at f (/srv/a.js:1:2)
  ]
}",
                "",
                BEFORE,
            ],
        );
    }

    #[test]
    fn messages_of_several_lines() {
        check(
            JavaScript,
            &[
                "AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:

1 !== 2

    at Object.<anonymous> (/srv/a.js:1:8) {
  generatedMessage: true
}",
                "Error: refused",
                "trying again",
                "failed Error: refused\n    at f (/srv/a.js:1:2)",
                "Error: refused",
                BEFORE,
            ],
        );
    }
}
