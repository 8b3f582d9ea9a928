"""The Flower ClientApp: the same for virtual clients and for devices, made from plain parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from clients.base import LocalRound, Tensors
from clients.cohort import train_alone
from clients.data import ClientData
from clients.engine import LOOP, Engine
from clients.jobs import Told, TrainJob, TrainReply, finish, prepare, prepare_told, requested, to_content
from clients.memory import OUT_OF_MEMORY, Memory, device_full, release
from clients.preprocess import prepared
from clients.records import encode
from clients.scoring import Answer, Scored, score_clients
from clients.trainer import Trainer
from fedbal import protocol
from fedbal.protocol import to_arrays, to_record

__all__ = ["CLIENT_RAISED", "Trainer", "TrainingApp", "make_app"]

CLIENT_RAISED = 2
"""Flower's error code for a ClientApp that raised."""

DataOf = Callable[[Context], ClientData]
Handler = Callable[[Message, Context], RecordDict]


class TrainingApp(ClientApp):
    """fedbal's ClientApp, which can also train many clients at once where they share a process.

    Parameters
    ----------
    trainer : Trainer
        How clients train.
    data_of : callable
        Returns a client's data from its Flower ``Context``.
    engine : Engine
        How :meth:`train_chunk` trains; messages that come one by one are answered one by one.
    """

    def __init__(self, trainer: Trainer, data_of: DataOf, engine: Engine) -> None:
        super().__init__()
        self.trainer = trainer
        self.data_of = data_of
        self.engine = engine
        self.memory = Memory()

    def rows_of(self, content: RecordDict, context: Context) -> ClientData:
        """Return a client's data, its rows prepared by what the message brings."""
        return prepared(self.trainer.preprocess, self.data_of(context), content)

    def train_chunk(
        self, asked: Sequence[tuple[RecordDict, Context]]
    ) -> list[TrainReply | Exception | SystemExit]:
        """Train the clients of a chunk: for each the content of its message, and its context.

        Returns
        -------
        list of TrainReply, Exception or SystemExit
            In the given order; what a client raised is its own answer and nobody else's.

        Raises
        ------
        DeviceFull
            The device has no memory for even one client.
        """
        answers: list[TrainReply | Exception | SystemExit | TrainJob] = []
        told: Told | None = None
        for content, context in asked:
            try:
                data = self.rows_of(content, context)
                if told is None or told.content is not content:
                    told = Told.of(self.trainer, content, data.train.pool.device)
                answers.append(prepare_told(self.trainer, data, told, context.state))
            except torch.OutOfMemoryError as error:
                raise device_full(error) from None
            except (Exception, SystemExit) as error:
                answers.append(error)
        jobs = [answer for answer in answers if isinstance(answer, TrainJob)]
        trained = iter(self.memory.train(self.trainer, jobs, self.engine))
        return [self._finished(one, trained) if isinstance(one, TrainJob) else one for one in answers]

    def evaluate_chunk(self, content: RecordDict, contexts: Sequence[Context]) -> list[Answer]:
        """Evaluate one message's model on the test rows of many clients.

        Returns
        -------
        list of Scored, Exception or SystemExit
            In the given order; what a client raised is its own answer and nobody else's.

        Raises
        ------
        DeviceFull
            The device has no memory for one batch.
        """
        answers: list[Answer | None] = []
        clients = []
        try:
            for context in contexts:
                try:
                    clients.append((self.rows_of(content, context), context.state))
                    answers.append(None)
                except torch.OutOfMemoryError:
                    raise
                except (Exception, SystemExit) as error:
                    answers.append(error)
            scored = iter(score_clients(self.trainer, content, clients))
            return [next(scored) if answer is None else answer for answer in answers]
        except torch.OutOfMemoryError as error:
            full = device_full(error)
        release()
        raise full

    def _finished(
        self, job: TrainJob, trained: Iterator[tuple[Tensors, float] | Exception]
    ) -> TrainReply | Exception | SystemExit:
        result = next(trained)
        if isinstance(result, Exception):
            return result
        try:
            return finish(self.trainer, job, *result)
        except torch.OutOfMemoryError as error:
            raise device_full(error) from None
        except (Exception, SystemExit) as error:
            return error


def make_app(trainer: Trainer, data_of: DataOf, engine: Engine = LOOP) -> TrainingApp:
    """Return the ClientApp that trains, evaluates and answers queries.

    Parameters
    ----------
    trainer : Trainer
        How clients train.
    data_of : callable
        Returns a client's data from its Flower ``Context``.
    engine : Engine
        How clients that share a process are trained.
    """
    app = TrainingApp(trainer, data_of, engine)

    def rows_of(message: Message, context: Context) -> ClientData:
        return app.rows_of(message.content, context)

    @app.train()
    def _train(message: Message, context: Context) -> Message:
        return _answer(message, context, lambda m, c: _train_reply(trainer, rows_of(m, c), m, c))

    @app.evaluate()
    def _evaluate(message: Message, context: Context) -> Message:
        return _answer(message, context, lambda m, c: _evaluate_reply(trainer, rows_of(m, c), m, c))

    @app.query()
    def _query(message: Message, context: Context) -> Message:
        # Counts and names need no prepared rows; what is made of the rows themselves does, and brings the record.
        rows = rows_of if protocol.PREPROCESS in message.content else (lambda m, c: data_of(c))
        return _answer(message, context, lambda m, c: _query_reply(trainer, rows(m, c), m))

    @app.query(protocol.STATISTICS)
    def _statistics(message: Message, context: Context) -> Message:
        return _answer(message, context, lambda m, c: _statistics_reply(trainer, data_of(c), m))

    return app


def _answer(message: Message, context: Context, handler: Handler) -> Message:
    """Reply with the handler's content, or with an error: a client that does not reply blocks its node."""
    try:
        return Message(handler(message, context), reply_to=message)
    except torch.OutOfMemoryError as error:
        full = Error(OUT_OF_MEMORY, str(device_full(error)))
    except Exception as error:
        return Message(Error(CLIENT_RAISED, f"{type(error).__name__}: {error}"), reply_to=message)
    release()
    return Message(full, reply_to=message)


def _train_reply(trainer: Trainer, data: ClientData, message: Message, context: Context) -> RecordDict:
    job = prepare(trainer, data, message.content, context.state)
    result = train_alone(trainer, job)
    return to_content(finish(trainer, job, *result))


def _evaluate_reply(trainer: Trainer, data: ClientData, message: Message, context: Context) -> RecordDict:
    (answer,) = score_clients(trainer, message.content, [(data, context.state)])
    if not isinstance(answer, Scored):
        raise answer
    return trainer.measures.reply(*answer)


def _query_reply(trainer: Trainer, data: ClientData, message: Message) -> RecordDict:
    config = protocol.config_of(message.content)
    answer = ConfigRecord({protocol.CLIENT_KEY: data.key, protocol.NUM_EXAMPLES: len(data.train)})
    content = RecordDict({protocol.REPLY: answer})
    local = LocalRound(0, {}, data, trainer.num_classes, config, seed=trainer.seed)
    for name, tensors in trainer.update.answer(local).items():
        content[name] = encode(tensors)
    if extras := requested(local, trainer):
        content[protocol.EXTRAS] = ConfigRecord({name: list(values) for name, values in extras.items()})
    return content


def _statistics_reply(trainer: Trainer, data: ClientData, message: Message) -> RecordDict:
    if trainer.preprocess is None:
        raise ValueError("statistics are asked for and this client prepares no rows: data.preprocess is off")
    asked = message.content.array_records.get(protocol.STATISTICS, ArrayRecord())
    what = str(protocol.config_of(message.content).get(protocol.STATISTICS))
    answer = trainer.preprocess.answer(data.train, what, to_arrays(asked))
    own = ConfigRecord({protocol.CLIENT_KEY: data.key, protocol.NUM_EXAMPLES: len(data.train)})
    return RecordDict({protocol.STATISTICS: to_record(answer), protocol.REPLY: own})
