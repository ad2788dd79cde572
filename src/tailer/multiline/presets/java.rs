//! Java, Kotlin, Scala: `Throwable.printStackTrace`, and what loggers make of it.

use super::State::{Begin, Entry, Frames, Head, Message, Over, Plain};
use super::{EMPTY, LOG_LINE, Rule};

pub(super) const RULES: &[Rule] = &[
    EMPTY,
    // java.util.logging writes two lines: when and who, level and what.
    (&[Begin], r"^[A-Z][a-z]{2} \d{1,2}, \d{4} \d{1,2}:\d\d:\d\d [AP]M ", Entry),
    (&[Entry], r"^(?:SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST): ", Plain),
    (&[Begin], r#"^Exception in thread ""#, Head),
    // One that follows another without frames is an error of its own, hence not from Head.
    (&[Begin, Plain], r"^(?:[A-Za-z_$][\w$]*\.)+[\w$]*(?:Exception|Error|Throwable)[\w$]*(?::|$)", Head),
    (&[Plain, Head, Message, Frames], r"^[ \t]+at \S", Frames),
    (&[Plain, Head, Message, Frames], r"^[ \t]*(?:Caused by|Suppressed|Wrapped by): ", Head),
    (&[Plain, Frames], r"^[ \t]+\.\.\. \d+ (?:more|common frames omitted)$", Frames),
    (&[Frames], r"^[ \t]+(?:\[CIRCULAR REFERENCE|\(Coroutine )", Frames),
    // Details of a message stand indented.
    (&[Head], r"^[ \t]+\S", Head),
    (&[Head, Message], LOG_LINE, Over),
    (&[Head, Message], r"(?:Exception|Error)(?:: |$)", Over),
    (&[Head, Message], "", Message),
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use crate::config::Preset::Java;

    const BEFORE: &str = "2026-11-21 12:18:53,120 INFO  [main] c.e.shop.Checkout - order 4711 accepted";
    const AFTER: &str = "2026-11-21 12:18:54,007 WARN  [http-7] c.e.shop.Stock - 2 items left";

    #[test]
    fn the_line_of_the_log_and_its_trace() {
        check(
            Java,
            &[
                BEFORE,
                "2026-11-21 12:18:53,300 ERROR [http-7] c.e.shop.Checkout - order 4712 failed
java.lang.IllegalStateException: basket is closed
\tat com.example.shop.Basket.add(Basket.java:41)
\tat com.example.shop.Checkout.lambda$place$0(Checkout.java:112)
\tat java.base/java.util.ArrayList.forEach(ArrayList.java:1596)
\tat jdk.internal.reflect.GeneratedMethodAccessor12.invoke(Unknown Source)
\t... 31 common frames omitted",
                AFTER,
                "2026-11-21 12:18:55,000 ERROR c.e.Main - failed java.io.IOException: disk
\tat com.example.Main.run(Main.kt:9)
\tat com.example.Main$main$1.invokeSuspend(Main.kt)
\t(Coroutine boundary)
\tat com.example.Main.main(Main.kt:3)",
                AFTER,
            ],
        );
    }

    #[test]
    fn causes_and_suppressed_errors() {
        check(
            Java,
            &[
                "Exception in thread \"main\" java.util.concurrent.ExecutionException: java.sql.SQLException: gone
\tat com.example.Pool.get(Pool.java:20)
\tSuppressed: java.io.IOException: cannot close
\t\tat com.example.Socket.close(Socket.java:7)
\t\tCaused by: java.net.SocketException: reset
\t\t\tat com.example.Socket.flush(Socket.java:3)
\t\t\t... 2 more
\t\t[CIRCULAR REFERENCE: java.io.IOException: cannot close]
Caused by: java.sql.SQLException: gone
\tat org.example.sql.Driver.query(Driver.scala:99)
\t... 12 more
Caused by: java.lang.NullPointerException
\t... 13 more",
                BEFORE,
            ],
        );
    }

    #[test]
    fn messages_of_several_lines() {
        check(
            Java,
            &[
                "com.fasterxml.jackson.core.JsonParseException: Unexpected character ('<' (code 60))
 at [Source: (String)\"<html>\"; line: 1, column: 2]
\tat com.fasterxml.jackson.core.JsonParser._constructError(JsonParser.java:2)",
                "org.postgresql.util.PSQLException: ERROR: column \"a\" does not exist
  Position: 8
\tat org.postgresql.core.v3.QueryExecutorImpl.receive(QueryExecutorImpl.java:2)",
                "java.lang.IllegalArgumentException: cannot read the template:

<b>not closed
\tat com.example.Template.read(Template.java:1)
Caused by: java.text.ParseException: expected:
</b>
\tat com.example.Parser.parse(Parser.java:1)",
                AFTER,
            ],
        );
    }

    #[test]
    fn errors_without_frames_swallow_nothing() {
        check(
            Java,
            &[
                "java.lang.OutOfMemoryError: Java heap space",
                "java.lang.OutOfMemoryError: Java heap space",
                "ready again",
                BEFORE,
                // With a line of the log directly in front, it is what that line is about.
                "2026-11-21 12:18:54,007 ERROR [http-7] c.e.shop.Stock - not counted\njava.lang.StackOverflowError",
                AFTER,
                "[12:00:00] failed: java.io.IOException: no\n\tat a.B.c(B.java:1)",
                "java.io.IOException: no",
                "java.io.IOException: no\nCaused by: java.io.IOException: why",
                "12:00:01 order 4713 failed
Caused by: java.io.IOException: no
\tat a.B.c(B.java:1)",
                "retry failed with java.io.IOException: no\n\tat a.B.c(B.java:1)",
                "java.io.IOException: no\n\tat a.B.c(B.java:1)",
                "java.io.IOException: no\n\tat a.B.c(B.java:1)",
            ],
        );
    }

    #[test]
    fn the_two_lines_of_the_logger_of_the_platform() {
        check(
            Java,
            &[
                "Nov 21, 2026 12:18:53 PM com.example.Main start\nINFO: listening",
                "Nov 21, 2026 12:18:54 PM com.example.Main serve
SEVERE: cannot serve
java.io.EOFException
\tat com.example.Main.serve(Main.java:8)",
                "Nov 21, 2026 12:18:55 PM com.example.Main stop\nINFO: done",
            ],
        );
    }
}
