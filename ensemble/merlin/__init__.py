"""The layout `merlin`: the same towers, ranker and workflows in Merlin Systems' own operators and export.

It is the reference that the other layouts are compared with, one user a request. `QueryFaiss`, `FilterCandidates` and
`UnrollFeatures` run as Merlin Systems 23.8 has them, `TransformWorkflow` and `PredictTensorflow` in subclasses that are
saved and loaded otherwise, and `Ensemble.export` writes the repository. What is replaced or added, and why:

| here | in place of | why |
|---|---|---|
| `LookUpUsers`, `LookUpItems` | `QueryFeast` | there is no feature store; raw features come from Parquet files |
| `SavedWorkflow` | `TransformWorkflow` pickled | a pickled workflow keeps the paths of the run's vocabularies |
| `TensorflowInProcess` | `PredictTensorflow` for Triton's backend | none since 25.03; unpickled, it has no model |
| `DenseLists` | - | `UnrollFeatures` repeats rows and cannot repeat ragged lists |
| `MergeSources` | - | Merlin Systems has no other source than the towers, cuts no list and drops the scores |
| `Slate` | `SoftmaxSampling` | that one samples, with weights that are no softmax, and gives no raw ids |
| `op_table = {}` | one Triton model an operator | see `TensorflowInProcess`; workflows as models cost a call each |
| -1 among the blocked items | - | `QueryFaiss` hands FAISS's "nothing found" on as an item |
| `topk` beyond the candidates | - | `FilterCandidates` filters after the search: without, blocked items leave gaps |
| `served.TritonPythonModel` | `executor_model.py` | that one answers with tracebacks and runs shared nodes repeatedly |
| `optional: true` in config.pbtxt | - | a request need not carry the context |

A repository of this layout holds a pickle: serve only what you exported yourself.
"""
