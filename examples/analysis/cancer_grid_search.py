from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
print(X.shape, y.value_counts().to_dict())

pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)
baseline = cross_val_score(pipeline, X, y, cv=folds, n_jobs=-1)
print(f"baseline accuracy: {baseline.mean():.3f} +/- {baseline.std():.3f}")

search = GridSearchCV(pipeline, {"logisticregression__C": [0.01, 0.1, 1, 10]}, cv=folds, n_jobs=-1, verbose=1)
search.fit(X, y)
print("best:", search.best_params_)
round(search.best_score_, 3)
