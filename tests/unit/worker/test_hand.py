"""What a worker has in its hands is settled once, by whoever took it, and held until then."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from eventbus import Attempt
from eventbus.backends.base import Charge
from eventbus.backends.memory import MemoryBackend
from eventbus.backends.port import Port
from eventbus.errors import BackendUnavailable, LeaseLost
from eventbus.queue.envelope import Envelope, Member
from eventbus.queue.execution import Decision, Execution
from eventbus.queue.lifecycle import Outcome
from eventbus.testing.clock import ManualClock
from eventbus.worker.hand import Hand

DEADLINE = 10
AWAY = BackendUnavailable(backend="memory://", operation="ack", reason="away")


class Faulty(Port):
    """A port of which the next calls fail, and which notes those that do not."""

    def __init__(self, backend):
        super().__init__(backend, name="default")
        self.faults = 0
        self.calls = []

    def _told(self, name):
        if self.faults:
            self.faults -= 1
            raise AWAY
        self.calls.append(name)

    def ack_all(self, claims):
        self._told(f"ack {len(claims)}")
        return super().ack_all(claims)

    def give_back(self, claims):
        self._told(f"give back {len(claims)}")
        return super().give_back(claims)

    def release(self, claim, **more):
        self._told("release")
        super().release(claim, **more)

    def bury(self, claim, **more):
        self._told("bury")
        super().bury(claim, **more)


class Setting:
    def __init__(self, **options):
        self.clock = ManualClock()
        self.port = Faulty(MemoryBackend(clock=self.clock))
        self.waits = []
        self.patience = 99
        self.hand = Hand(self.port, self._try_again, **options)

    def _try_again(self, error):
        self.waits.append(error)
        return len(self.waits) <= self.patience

    def take_up(self, number):
        self.port.push([Envelope(id=f"j{at}", queue="q", body=b"{}") for at in range(number)])
        claims = self.port.claim(["q"], limit=number, lease=60)
        self.hand.take_up(claims)
        return claims

    def begin(self, **decided):
        claim = self.hand.begin()
        execution = Execution(
            envelope=claim.envelope,
            claim=claim,
            port=self.port,
            attempt=Attempt(
                id=claim.envelope.id, name="n", connection="default", queue="q", number=1
            ),
        )
        if decided:
            execution.decide(Decision(**{"outcome": Outcome.RELEASED, **decided}))
        self.hand.runs(execution)
        return execution

    def held(self):
        return [claim.envelope.id for claim in self.hand.held()]

    def size(self):
        size = self.port.size("q")
        return size.ready, size.leased, size.failed


@pytest.fixture
def setting():
    return Setting()


@pytest.fixture
def window(monkeypatch):
    def set_to(seconds):
        monkeypatch.setattr("eventbus.worker.hand.ACK_WINDOW", seconds)

    set_to(999)
    return set_to


def test_acks_of_a_batch_are_written_together_when_its_last_job_is_done(setting, window):
    setting.take_up(3)
    for _ in range(3):
        setting.hand.ack(setting.begin())
    assert setting.port.calls == ["ack 3"]
    assert (setting.size(), setting.held(), setting.hand.begin()) == ((0, 0, 0), [], None)


def test_an_ack_waits_no_longer_than_the_window(setting, window):
    window(0)
    setting.take_up(3)
    setting.hand.ack(setting.begin())
    assert setting.port.calls == ["ack 1"]


def test_what_is_done_and_not_written_is_still_held(setting, window):
    setting.take_up(2)
    setting.hand.ack(setting.begin())
    assert setting.held() == ["j0", "j1"]
    assert setting.hand.restless


def test_a_release_and_a_burial_are_written_at_once(setting, window):
    setting.take_up(3)
    setting.hand.release(setting.begin(delay=5.0, charge=Charge.ERROR))
    setting.hand.bury(setting.begin(error=KeyError("x"), charge=Charge.ERROR))
    assert setting.port.calls == ["release", "bury"]
    assert setting.held() == ["j2"]
    [failed] = setting.port.failed()
    assert (failed.attempts, "KeyError" in failed.error) == (1, True)


def test_a_parked_job_says_why(setting):
    setting.take_up(1)
    setting.hand.release(setting.begin(delay=30.0, charge=Charge.NOTHING, parked="unknown"))
    assert [one.parked for one in setting.port.peek(parked=True)] == ["unknown"]


def test_a_settlement_is_tried_again_while_there_is_time(setting, window):
    setting.take_up(3)
    setting.port.faults = 2
    setting.hand.release(setting.begin(charge=Charge.ERROR))
    setting.port.faults = 1
    setting.hand.bury(setting.begin(charge=Charge.ERROR))
    setting.port.faults = 3
    setting.hand.ack(setting.begin())
    assert len(setting.waits) == 6
    assert (setting.size(), setting.held()) == ((1, 0, 1), [])


def test_without_time_it_raises_and_the_claim_is_let_go(setting):
    setting.take_up(2)
    setting.patience, setting.port.faults = 1, 9
    with pytest.raises(BackendUnavailable):
        setting.hand.release(setting.begin())
    assert setting.held() == ["j1"]


def test_a_stale_release_is_not_tried_again(setting):
    [claim] = setting.take_up(1)
    execution = setting.begin()
    setting.port.ack(claim)
    with pytest.raises(LeaseLost):
        setting.hand.release(execution)
    assert (setting.waits, setting.held()) == ([], [])


def test_a_stale_ack_is_refused(setting, caplog):
    [claim] = setting.take_up(1)
    execution = setting.begin()
    setting.port.ack(claim)
    with pytest.raises(LeaseLost):
        setting.hand.ack(execution)
    assert (setting.held(), caplog.text) == ([], "")


@pytest.mark.parametrize("late", [False, True], ids=["at the end of the batch", "while a job runs"])
def test_a_stale_ack_that_waited_for_others_is_told_and_forgotten(setting, window, caplog, late):
    claims = setting.take_up(3)
    setting.hand.ack(setting.begin())
    setting.port.ack(claims[0])
    if late:
        window(0)
        setting.hand.flush_late()
    else:
        setting.hand.ack(setting.begin())
        setting.hand.ack(setting.begin())
    assert caplog.text.count("the lease of job j0 was lost") == 1
    assert "j0" not in setting.held()


def test_a_stale_ack_of_a_batch_that_is_broken_off_is_told(setting, window, caplog):
    claims = setting.take_up(3)
    setting.hand.ack(setting.begin())
    setting.port.ack(claims[0])
    setting.hand.flush()
    assert "the lease of job j0 was lost" in caplog.text


def test_what_has_not_begun_goes_back_to_its_place(setting, window):
    setting.take_up(3)
    setting.hand.ack(setting.begin())
    assert setting.hand.give_back() == 2
    setting.hand.flush()
    assert (setting.size(), setting.held(), setting.hand.begin()) == ((2, 0, 0), [], None)
    again = setting.port.claim(["q"], limit=5)
    assert [(one.envelope.id, one.releases, one.losses) for one in again] == [
        ("j1", 0, 0),
        ("j2", 0, 0),
    ]


def test_with_empty_hands_there_is_nothing_to_do(setting):
    setting.hand.flush()
    setting.hand.flush_late()
    assert (setting.hand.give_back(), setting.hand.give_back_late()) == (0, 0)
    assert (setting.port.calls, setting.hand.restless, setting.hand.runs_for()) == ([], False, 0)
    assert setting.hand.seize() == (None, None)


@pytest.mark.parametrize("verb", ["ack", "release", "bury"])
def test_what_follows_a_job_counts_as_its_run_until_the_next_begins(setting, verb):
    """Whoever waits behind a slow `failed()` is no hostage of it either."""
    setting.take_up(2)
    getattr(setting.hand, verb)(setting.begin())
    assert setting.hand.runs_for() > 0

    setting.begin()
    assert setting.hand.runs_for() > 0
    setting.hand.let_go()
    assert setting.hand.runs_for() == 0


def test_while_a_settlement_waits_for_the_store_nothing_else_is_asked_of_it(setting):
    setting.take_up(2)
    seen = []
    setting.port.faults = 1
    setting.hand._try_again = lambda error: seen.append(setting.hand.runs_for()) or True
    setting.hand.release(setting.begin())
    assert seen == [0]


def test_what_a_process_that_stood_still_has_not_begun_is_not_begun(setting, monkeypatch):
    """F5: others may have it by now, so that a run of it here could only be one too many."""
    now = [100.0]
    monkeypatch.setattr("eventbus.worker.hand.time.monotonic", lambda: now[0])
    setting.take_up(4)
    assert setting.hand.begin() is not None
    now[0] += 59.9
    assert setting.hand.begin() is not None
    setting.hand.renewed(at=now[0])
    now[0] += 59.9
    assert setting.hand.begin() is not None
    now[0] += 0.1
    assert setting.hand.begin() is None

    setting.hand.give_back()  # with the batch: nobody has overtaken it
    assert setting.size() == (1, 3, 0)


def test_letting_go_leaves_the_rest_to_its_lease(setting, window):
    setting.take_up(3)
    setting.hand.ack(setting.begin())
    setting.begin()
    setting.hand.let_go()
    assert (setting.held(), setting.hand.begin()) == (["j0"], None)
    assert setting.size() == (0, 3, 0)


def test_what_is_done_is_held_until_it_is_acked(setting, window):
    setting.take_up(3)
    setting.hand.ack(setting.begin())
    setting.hand.let_go()
    assert setting.hand.has_done
    setting.hand.flush()
    assert (setting.hand.has_done, setting.held()) == (False, [])
    assert setting.size() == (0, 2, 0)


# Acks that wait for the next claim.


@pytest.fixture
def deferring(window):
    return Setting(defers=True)


def done_of(setting, number):
    setting.take_up(number)
    for _ in range(number):
        setting.hand.ack(setting.begin())
    setting.hand.let_go()


@pytest.mark.parametrize("number", [1, 3])
def test_whose_acks_go_with_the_next_claim_writes_none_at_the_end_of_a_batch(deferring, number):
    done_of(deferring, number)

    assert (deferring.port.calls, len(deferring.held())) == ([], number)

    with deferring.hand.acking() as (done, lost):
        assert not deferring.hand.has_done
        assert (len(done), lost) == (number, [])
    assert deferring.held() == []


def test_an_ack_whose_lease_may_have_ended_waits_for_no_claim(deferring, monkeypatch):
    deferring.take_up(1)
    execution = deferring.begin()
    deferring.hand.renewed(at=-99)

    deferring.hand.ack(execution)

    assert deferring.port.calls == ["ack 1"]


def test_an_ack_whose_lease_was_found_lost_waits_for_no_claim(deferring):
    [claim] = deferring.take_up(1)
    execution = deferring.begin()
    deferring.clock.advance(61)
    [other] = deferring.port.claim(["q"])
    deferring.hand.lost([claim])

    with pytest.raises(LeaseLost):
        deferring.hand.ack(execution)

    assert deferring.port.extend([other]) == []


@pytest.mark.parametrize("member", [Member(batch="b"), Member(next=("q", "z"))])
def test_the_ack_of_a_member_of_a_plan_waits_for_no_claim(deferring, member):
    """So whoever is told of it sees it counted."""
    deferring.port.push([Envelope(id="j0", queue="q", body=b"{}", member=member)])
    deferring.hand.take_up(deferring.port.claim(["q"], lease=60))

    deferring.hand.ack(deferring.begin())

    assert deferring.port.calls == ["ack 1"]


def test_an_ack_that_goes_with_the_next_claim_waits_no_longer_than_the_window(deferring, window):
    window(0)
    deferring.take_up(1)

    deferring.hand.ack(deferring.begin())

    assert deferring.port.calls == ["ack 1"]


def test_where_the_claim_fails_what_is_done_is_to_be_acked_still(deferring):
    done_of(deferring, 2)

    with pytest.raises(BackendUnavailable), deferring.hand.acking():
        raise AWAY

    deferring.hand.flush()
    assert (deferring.port.calls, deferring.held()) == (["ack 2"], [])


def test_what_turns_out_lost_as_it_is_acked_with_a_claim_is_told_of(deferring, caplog):
    done_of(deferring, 2)

    with deferring.hand.acking() as (done, lost):
        lost.append(done[1])

    assert [one.getMessage() for one in caplog.records] == [
        "the lease of job j1 was lost: another worker has it, or had it"
    ]


# What the lease thread does while a job runs.


def test_acks_whose_window_is_over_are_written_while_a_job_runs(setting, window):
    setting.take_up(3)
    setting.hand.ack(setting.begin())
    setting.begin()
    setting.hand.flush_late()
    assert setting.port.calls == []
    window(0)
    setting.hand.flush_late()
    assert setting.port.calls == ["ack 1"]


def test_acks_that_could_not_be_written_are_kept_for_the_next_round(setting, window):
    setting.take_up(3)
    setting.hand.ack(setting.begin())
    window(0)
    setting.port.faults = 1
    with pytest.raises(BackendUnavailable):
        setting.hand.flush_late()
    assert setting.waits == []
    setting.hand.flush_late()
    assert (setting.port.calls, setting.held()) == (["ack 1"], ["j1", "j2"])


def acked_with_a_claim(hand):
    with hand.acking() as (done, _):
        if done:
            hand._port.ack_all(done)


@pytest.mark.parametrize("fails", [0, 1])
@pytest.mark.parametrize(
    "verb, ends",
    [("flush", Hand.flush), ("flush", acked_with_a_claim), ("give_back", Hand.give_back)],
    ids=["flush", "the next claim", "give_back"],
)
def test_the_end_of_a_batch_waits_for_what_the_lease_thread_is_settling(
    setting, window, verb, ends, fails
):
    """F1: else a worker that dies just then is held to hold nothing, and the job waits for its lease."""
    setting.take_up(2)
    setting.hand.ack(setting.begin())
    window(0)
    asked, answer = threading.Event(), threading.Event()
    told = setting.port._told

    def slow(name):
        setting.port._told = told
        asked.set()
        assert answer.wait(DEADLINE)
        told(name)

    setting.port._told = slow
    setting.port.faults = fails

    def late():
        with suppress(BackendUnavailable):
            getattr(setting.hand, f"{verb}_late")()

    threads = [threading.Thread(target=late), threading.Thread(target=ends, args=(setting.hand,))]
    threads[0].start()
    assert asked.wait(DEADLINE)
    threads[1].start()
    threads[1].join(0.05)

    assert threads[1].is_alive()
    answer.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert setting.port.calls == ["ack 1" if verb == "flush" else "give back 1"]
    assert len(setting.held()) == 1


def test_members_that_could_not_be_given_back_stay_in_their_order(setting):
    setting.take_up(3)
    setting.begin()
    setting.port.faults = 1
    with pytest.raises(BackendUnavailable):
        setting.hand.give_back_late()
    assert [setting.hand.begin().envelope.id for _ in range(2)] == ["j1", "j2"]


def test_members_are_given_back_while_a_job_runs(setting):
    setting.take_up(3)
    running = setting.begin()
    assert setting.hand.give_back_late() == 2
    assert (setting.size(), setting.held()) == ((2, 1, 0), ["j0"])
    setting.hand.ack(running)
    assert setting.size() == (2, 0, 0)


def test_a_member_that_somebody_else_has_does_not_run_here(setting, caplog):
    claims = setting.take_up(3)
    setting.begin()
    setting.hand.lost([claims[1]])
    assert setting.held() == ["j0", "j2"]
    assert setting.hand.begin() is claims[2]
    assert caplog.text.count("was lost") == 1


def test_a_claim_that_was_settled_while_it_was_renewed_is_not_called_lost(setting, caplog):
    [claim] = setting.take_up(1)
    setting.hand.ack(setting.begin())
    setting.hand.lost([claim])
    assert caplog.text == ""


def test_nor_is_one_that_was_claimed_anew(setting, caplog):
    [before] = setting.take_up(1)
    setting.hand.release(setting.begin(charge=Charge.NOTHING))
    setting.hand.take_up(setting.port.claim(["q"]))
    setting.hand.lost([before])
    assert (setting.held(), caplog.text) == (["j0"], "")


def test_a_seized_run_is_never_settled_by_the_worker(setting):
    [claim] = setting.take_up(1)
    execution = setting.begin(outcome=Outcome.RELEASED, charge=Charge.ERROR)
    assert setting.hand.seize() == (claim, execution)

    late = threading.Thread(target=setting.hand.ack, args=(execution,), daemon=True)
    late.start()
    setting.hand.settle_seized(execution)
    late.join(0.05)

    assert late.is_alive()  # its process is about to end
    assert setting.port.calls == ["release"]


def test_what_is_claimed_as_a_run_is_seized_is_not_taken_up(setting):
    """Else it was neither given back nor noted any more: by then all that was held has been settled."""
    setting.take_up(1)
    setting.begin()
    setting.hand.seize()
    setting.port.push([Envelope(id="j1", queue="q", body=b"{}")])
    claims = setting.port.claim(["q"], lease=60)

    late = threading.Thread(target=setting.hand.take_up, args=(claims,), daemon=True)
    late.start()
    late.join(0.05)

    assert late.is_alive()  # its process is about to end
    assert setting.held() == ["j0"]
    assert setting.hand.give_back() == 0


def test_around_a_seized_run_nothing_waits_for_a_store_that_is_away(setting, window):
    setting.take_up(3)
    setting.hand.ack(setting.begin())
    setting.begin()
    setting.hand.seize()
    setting.port.faults = 99
    for settle in (setting.hand.flush, setting.hand.give_back):
        with pytest.raises(BackendUnavailable):
            settle()
    assert setting.waits == []


def test_a_seized_run_that_has_used_up_its_tries_is_buried(setting):
    setting.take_up(1)
    execution = setting.begin(
        outcome=Outcome.FAILED, charge=Charge.ERROR, error=TimeoutError("too long")
    )
    setting.hand.seize()
    setting.hand.settle_seized(execution)
    assert "too long" in setting.port.failed()[0].error


def test_a_run_that_ended_just_as_it_was_seized_is_done(setting):
    setting.take_up(1)
    execution = setting.begin()
    setting.hand.seize()
    setting.hand.settle_seized(execution)
    assert setting.size() == (0, 0, 0)


def test_a_run_that_is_being_settled_cannot_be_seized_and_none_begins_after_it(setting):
    setting.take_up(2)
    setting.hand.release(setting.begin())

    assert setting.hand.seize() == (None, None)

    assert setting.hand.begin() is None
    assert setting.hand.give_back() == 1
