//! Ruby: backtraces in both orders, with the marked source, and those that Logger and Rails write.

use super::State::{Begin, Details, Frames, Gap, HandlerFrames, Head, Location, Marker, OtherFrames, OtherGap, Plain, Source};
use super::{EMPTY, Rule};

// The quotes around a method are `m' up to Ruby 3.3, and 'm' since.
const ERROR: &str = r"^\S+:\d+:in [`'].*': (?:.*\([A-Z][\w:]*\)|unhandled exception)$";
const ERROR_IN_HANDLER: &str = r"^\S+:\d+:in [`'](?:rescue|ensure) in .*': (?:.*\([A-Z][\w:]*\)|unhandled exception)$";
const ERROR_WITHOUT_METHOD: &str = r"^\S+\.rb:\d+: .*\([A-Z][\w:]*\)$";
const FRAME: &str = r"^[ \t]*(?:\S+ \([^)]*\) )?\S+:\d+:in [`'].*'$";

pub(super) const RULES: &[Rule] = &[
    EMPTY,
    (&[Begin], r"^#<Thread:.* terminated with exception ", Location),
    // The order in which terminals had it for some years: the error last.
    (&[Begin, Location], r"^Traceback \(most recent call last\):$", OtherFrames),
    (&[OtherFrames], r"^[ \t]+\d+: from ", OtherFrames),
    // The cause of an error follows it without a word. One that was raised nowhere near a handler has none, so what
    // follows it is an error of its own.
    (&[Begin, Location, OtherFrames, HandlerFrames], ERROR_IN_HANDLER, HandlerFrames),
    (&[Begin, Location, OtherFrames, HandlerFrames], ERROR, Head),
    (&[Begin, Location, OtherFrames], ERROR_WITHOUT_METHOD, Head),
    (&[Plain, Head, Frames, Marker], r"^[ \t]+from \S+:\d+:in [`'](?:rescue|ensure) in ", HandlerFrames),
    (&[HandlerFrames], r"^[ \t]+from \S", HandlerFrames),
    (&[Plain, Head, Frames, Marker], r"^[ \t]+from \S", Frames),
    (&[Frames, OtherFrames], r"^[ \t]*\.\.\. ?\d+ (?:levels|lines)\.\.\.$", Frames),
    // The source with its mark, and what else could have been meant.
    (&[Head, HandlerFrames, Marker], r"^$", Gap),
    (&[Gap], r"\S", Source),
    (&[Source], r"^[ \t]*[~^]*\^[~^]*$", Marker),
    (&[Head, HandlerFrames, Marker], r"^Did you mean\?", Marker),
    // Logger writes the frames without `from`. Rails writes `Class (message):`, causes or lines of a template, an
    // empty line, and such frames.
    (&[Begin], r"^[A-Z]\w*(?:::[A-Z]\w*)* \(.*\):$", Details),
    (&[Plain, Details, Frames, OtherGap], FRAME, Frames),
    (&[Details], r"^[ \t]+\S|^[A-Z]\w*(?:::[A-Z]\w*)* \(.*\)$", Details),
    (&[Plain, Details], r"^[ \t]*$", OtherGap),
    (&[OtherGap], r"^Causes:$|^Information for: ", Details),
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use crate::config::Preset::Ruby;

    const BEFORE: &str = "I, [2026-11-21T12:18:53.120000 #4242]  INFO -- : order 4711 accepted";
    const AFTER: &str = "W, [2026-11-21T12:18:54.007000 #4242]  WARN -- : 2 items left";

    #[test]
    fn both_orders_of_a_backtrace() {
        check(
            Ruby,
            &[
                BEFORE,
                "/srv/shop/basket.rb:41:in `/': divided by 0 (ZeroDivisionError)
\tfrom /srv/shop/basket.rb:41:in `block in add'
\t ... 10067 levels...
\tfrom checkout.rb:9:in `<main>'",
                AFTER,
                "basket.rb:41:in 'Integer#/': divided by 0 (ZeroDivisionError)
\tfrom basket.rb:41:in 'block (2 levels) in Shop::Basket#add'
\tfrom checkout.rb:9:in '<main>'",
                "basket.rb:41:in 'Integer#/': divided by 0 (ZeroDivisionError)
\tfrom checkout.rb:9:in '<main>'",
                "Traceback (most recent call last):
\t2: from checkout.rb:9:in `<main>'
\t1: from basket.rb:41:in `add'
basket.rb:41:in `/': divided by 0 (ZeroDivisionError)",
                "basket.rb:41:in 'add': unhandled exception",
                "started",
            ],
        );
    }

    #[test]
    fn threads_and_causes() {
        check(
            Ruby,
            &[
                BEFORE,
                "#<Thread:0x00007f2b1c0a8f10 a.rb:1 run> terminated with exception (report_on_exception is true):
a.rb:4:in `rescue in load': not loaded (RuntimeError)
\tfrom a.rb:1:in `load'
a.rb:2:in `fetch': key not found: :a (KeyError)
\tfrom a.rb:2:in `load'",
                "a.rb:4:in 'Object#fail': not loaded (RuntimeError)
\tfrom a.rb:3:in 'rescue in Object#load'
\tfrom a.rb:1:in 'Object#load'
a.rb:2:in 'Hash#fetch': key not found: :a (KeyError)
\tfrom a.rb:2:in 'Object#load'",
                "a.rb:9:in 'Object#load': another (KeyError)",
                "a.rb:6:in 'rescue in Object#load': third (RuntimeError)

raise Third
^^^^^
\tfrom a.rb:5:in 'rescue in Object#load'
a.rb:4:in 'rescue in Object#load': second (RuntimeError)
a.rb:2:in 'Hash#fetch': first (KeyError)",
                "#<Thread:0x00007f2b1c0a8f10 a.rb:1 run> terminated with exception (report_on_exception is true):
a.rb:2:in 'Hash#fetch': key not found: :a (KeyError)
\tfrom a.rb:2:in 'Object#load'
\tfrom a.rb:1:in 'rescue in Object#load'",
                "#<Thread:0x00007f2b1c0a8f10 a.rb:1 run> terminated with exception (report_on_exception is true):
Traceback (most recent call last):
\t1: from a.rb:2:in `load'
a.rb:4:in `rescue in load': not loaded (RuntimeError)",
                AFTER,
            ],
        );
    }

    #[test]
    fn the_marked_source() {
        check(
            Ruby,
            &[
                "a.rb:1:in `<main>': undefined method `time' for 1:Integer (NoMethodError)

1.time {}
 ^^^^^
Did you mean?  times
\tfrom b.rb:1:in `<main>'",
                "a.rb:2: syntax error, unexpected end-of-input (SyntaxError)",
                "a.rb:1:in `<main>': uninitialized constant Basked (NameError)
Did you mean?  Basket",
                "a.rb:1:in `<main>': no (RuntimeError)",
                "",
                AFTER,
                "ready",
            ],
        );
    }

    #[test]
    fn loggers_and_rails() {
        check(
            Ruby,
            &[
                BEFORE,
                "E, [2026-11-21T12:18:53.300000 #4242] ERROR -- : divided by 0 (ZeroDivisionError)
/srv/shop/basket.rb:41:in `/'
/srv/shop/basket.rb:41:in `rescue in add'
/srv/shop/checkout.rb:9:in `place'",
                AFTER,
                "  ",
                "ActionView::Template::Error (undefined local variable or method `totl'):
    1: <h1>
    2: <%= totl %>
  
app/views/orders/show.html.erb:2:in `_app_views_orders_show'
actionpack (7.0.4) lib/action_controller/metal.rb:188:in `dispatch'",
                "[4bf9] NoMethodError (undefined method `price' for nil:NilClass):

Causes:
KeyError (key not found: :price)
  
app/models/basket.rb:7:in `total'",
                "Completed 500 Internal Server Error in 12ms",
                "",
                "Started GET \"/\" for 10.0.0.7",
            ],
        );
    }
}
