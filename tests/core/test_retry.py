"""Retry: what is sent again, how long is waited, and when it is given up."""

import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmscore.errors import ConfigError, KeyNotFound, KmsError, Throttled, Timeout, Unavailable
from kmscore.retry import Replay, Retrier, RetryPolicy, Wait


def longest(_low, high):
    """Draws the longest wait that is allowed."""
    return high


class Desk:
    """A clock that only sleeping moves, and a provider that answers as it is told."""

    def __init__(self, *answers, policy=None, seconds_per_call=0.0, uniform=longest):
        self.now = 0.0
        self.answers = list(answers)
        self.seconds_per_call = seconds_per_call
        self.sleeps = []
        self.drawn = []
        self.waits: list[Wait] = []
        self.calls = 0
        self._uniform = uniform
        self.retrier = Retrier(
            policy or RetryPolicy(),
            sleep=self.sleep,
            monotonic=lambda: self.now,
            uniform=self.uniform,
            on_wait=self.waits.append,
        )

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds

    def uniform(self, low, high):
        self.drawn.append((low, high))
        return self._uniform(low, high)

    def call(self):
        self.calls += 1
        self.now += self.seconds_per_call
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def resume(self, error, replay=Replay.SAFE):
        return self.retrier.resume(error, self.call, replay)


failures = st.one_of(
    st.builds(Unavailable, st.just("m")),
    st.builds(Timeout, st.just("m")),
    st.builds(Throttled, st.just("m"), retry_after=st.none() | st.floats(-1, 40)),
)
policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 12),
    initial_delay=st.floats(0, 3),
    max_delay=st.floats(0, 10),
    deadline=st.floats(0, 60),
)


@given(policies, failures, st.lists(failures, min_size=12, max_size=12), st.data())
def test_waits_keep_to_the_policy(policy, first, others, data):
    """Attempts, each wait and their sum stay within the policy, whatever the provider answers."""
    fraction = st.floats(0, 1)
    desk = Desk(
        *others, policy=policy, uniform=lambda low, high: low + data.draw(fraction) * (high - low)
    )
    with pytest.raises(KmsError) as caught:
        desk.resume(first)
    assert 1 + desk.calls <= policy.max_attempts
    assert desk.now <= policy.deadline
    assert desk.calls == len(desk.sleeps) == len(desk.waits)
    for n, (low, high) in enumerate(desk.drawn):
        assert (low, high) == (0.0, min(policy.max_delay, policy.initial_delay * 2**n))
    for (_, bound), wait in zip(desk.drawn, desk.waits, strict=False):
        asked = getattr(wait.error, "retry_after", None)
        assert wait.delay <= max(bound, asked or 0.0)
        assert asked is None or wait.delay >= asked
    last = [first, *others][desk.calls]
    assert caught.value is last


@given(failures)
def test_creating_and_rotating_are_never_sent_again(error):
    """A second CreateKey could make a second key, so the first error is the answer."""
    desk = Desk("a second key")
    with pytest.raises(KmsError) as caught:
        desk.resume(error, Replay.NEVER)
    assert caught.value is error
    assert (desk.calls, desk.sleeps) == (0, [])


def test_a_lost_answer_is_not_repeated_where_that_could_do_it_twice():
    """A timeout may mean that it was done; throttling means that it was not."""
    lost = Timeout("no answer")
    desk = Desk("done twice")
    with pytest.raises(Timeout) as caught:
        desk.resume(lost, Replay.UNSAFE)
    assert caught.value is lost
    assert desk.calls == 0
    assert Desk("done").resume(Throttled("slow down"), Replay.UNSAFE) == "done"
    assert Desk("done").resume(Unavailable("restarting"), Replay.UNSAFE) == "done"
    assert Desk("done").resume(lost, Replay.SAFE) == "done"


def test_what_it_turns_into_decides_whether_to_go_on():
    """Throttled first and not found then: the second answer is final."""
    final = KeyNotFound("no such key")
    desk = Desk(final, "never reached")
    with pytest.raises(KeyNotFound) as caught:
        desk.resume(Throttled("slow down"))
    assert caught.value is final
    assert desk.calls == 1
    assert final.hint == ""


def test_a_lost_answer_on_the_way_ends_an_unsafe_call():
    """The second attempt may have been carried out: there is no third."""
    desk = Desk(Timeout("no answer"), "done twice")
    with pytest.raises(Timeout):
        desk.resume(Throttled("slow down"), Replay.UNSAFE)
    assert desk.calls == 1


def test_an_error_that_says_it_is_final_is_final():
    """A provider may know that its outage is no passing one."""
    error = Unavailable("switched off for good")
    error.retryable = False
    desk = Desk("never reached")
    with pytest.raises(Unavailable):
        desk.resume(error)
    assert desk.calls == 0


def test_one_success_ends_it():
    """The answer comes back as it is, after as many waits as failures."""
    desk = Desk(Throttled("again"), Unavailable("and again"), b"ciphertext", "never reached")
    assert desk.resume(Throttled("slow down")) == b"ciphertext"
    assert desk.calls == 3
    assert desk.sleeps == [0.1, 0.2, 0.4]


def test_waits_are_shown_before_they_begin():
    """Attempt, delay and error of each; the demo prints them."""
    first, second = Throttled("slow down"), Unavailable("restarting")
    desk = Desk(second, "done")
    desk.resume(first)
    assert desk.waits == [Wait(1, 0.1, first), Wait(2, 0.2, second)]


def test_the_provider_says_how_long_to_wait():
    """`retry_after` counts even beyond the longest wait of the policy."""
    desk = Desk("done")
    assert desk.resume(Throttled("slow down", retry_after=7.5)) == "done"
    assert desk.sleeps == [7.5]


def test_a_wait_beyond_the_deadline_is_not_begun():
    """The caller learns at once what it would learn after waiting in vain."""
    error = Throttled("slow down", retry_after=31.0, hint="Ask for a larger quota")
    desk = Desk("never reached")
    with pytest.raises(Throttled) as caught:
        desk.resume(error)
    assert caught.value is error
    assert desk.sleeps == []
    assert error.hint == "Ask for a larger quota. Gave up after 1 attempt in 0.0 s"


def test_giving_up_says_how_often_and_how_long_it_was_tried():
    """The last error itself comes out, with the sum of it as the hint."""
    errors = [Unavailable(f"answer {n}") for n in range(6)]
    desk = Desk(*errors[1:], seconds_per_call=1.0)
    with pytest.raises(
        Unavailable, match=r"answer 5\. Gave up after 6 attempts in 8\.1 s"
    ) as caught:
        desk.resume(errors[0])
    assert caught.value is errors[5]


def test_slow_calls_use_up_the_deadline_too():
    """Thirty seconds are thirty seconds, however they were spent."""
    desk = Desk(*[Timeout("no answer")] * 6, seconds_per_call=14.0)
    with pytest.raises(Timeout):
        desk.resume(Timeout("no answer"))
    assert desk.calls == 3
    assert desk.now == pytest.approx(42.7)


def test_very_many_attempts_do_not_overflow():
    """Doubling two thousand times is far beyond what a float holds."""
    policy = RetryPolicy(max_attempts=2000, initial_delay=1e-9, max_delay=0.01, deadline=1e6)
    desk = Desk(*[Unavailable("m")] * 1998, "done", policy=policy)
    assert desk.resume(Unavailable("m")) == "done"
    assert max(desk.sleeps) == 0.01


def test_an_interrupt_passes_at_once():
    """Ctrl-C is no failure of the provider."""
    desk = Desk(KeyboardInterrupt(), "never reached")
    with pytest.raises(KeyboardInterrupt):
        desk.resume(Throttled("slow down"))
    assert desk.calls == 1


def test_an_interrupt_ends_a_wait():
    """Ctrl-C while waiting does not lead to another attempt."""

    def interrupted(_seconds):
        raise KeyboardInterrupt

    desk = Desk("never reached")
    with pytest.raises(KeyboardInterrupt):
        Retrier(RetryPolicy(), sleep=interrupted).resume(Throttled("m"), desk.call, Replay.SAFE)
    assert desk.calls == 0


def test_threads_share_one_retrier():
    """Each call keeps its own count."""
    policy = RetryPolicy(initial_delay=0.0)
    retrier = Retrier(policy)
    results = []

    def work(name):
        desk = Desk(Throttled("m"), Unavailable("m"), name)
        results.append(retrier.resume(Throttled("m"), desk.call, Replay.SAFE))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(8))


def test_without_a_generator_of_one_s_own_waits_are_random():
    """Two clients that were turned away together do not come back together."""
    seen: list[float] = []
    for _ in range(20):
        desk = Desk("done")
        retrier = Retrier(RetryPolicy(initial_delay=2.0), sleep=seen.append)
        retrier.resume(Throttled("m"), desk.call, Replay.SAFE)
    assert all(0 <= seconds <= 2 for seconds in seen)
    assert len(set(seen)) > 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", 1.5),
        ("max_attempts", True),
        ("initial_delay", -0.1),
        ("max_delay", float("inf")),
        ("deadline", float("nan")),
        ("deadline", "30"),
    ],
)
def test_a_senseless_policy_is_refused(field, value):
    """By the name of what is wrong, before anything is sent."""
    with pytest.raises(ConfigError, match=field):
        RetryPolicy(**{field: value})


def test_one_attempt_means_no_retry():
    """Who wants no retries says so."""
    desk = Desk("never reached", policy=RetryPolicy(max_attempts=1))
    with pytest.raises(Throttled):
        desk.resume(Throttled("m"))
    assert desk.calls == 0


def test_tenacity_is_loaded_only_when_something_is_retried():
    """It costs more to import than a local encryption takes."""
    code = "import sys, kmscore.retry; sys.exit('tenacity' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_page_on_retry_shows_the_defaults():
    """Who copies the table changes nothing."""
    page = (Path(__file__).parents[2] / "docs" / "retry.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert RetryPolicy(**tomllib.loads(table)["retry"]) == RetryPolicy()
