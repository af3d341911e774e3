# Asked: train classifiers with a pipeline for numbers and categories, compare them, explain the best.
# Needs: sklearn pandas
# Value: 'categories__sex_m'
import warnings
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, classification_report
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

warnings.filterwarnings("ignore")
rng = np.random.default_rng(1)
n = 300
df = pd.DataFrame({"age": rng.normal(35, 12, n), "fare": rng.gamma(2, 15, n), "class": rng.choice(["first", "second", "third"], n), "sex": rng.choice(["f", "m"], n)})
df.loc[rng.choice(n, 30, replace=False), "age"] = np.nan
chance = 0.15 + 0.6 * (df["sex"] == "f") + 0.2 * (df["class"] == "first")
df["survived"] = (rng.random(n) < chance).astype(int)

X, y = df.drop(columns="survived"), df["survived"]
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=42, stratify=y)
prepare = ColumnTransformer([
    ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["age", "fare"]),
    ("categories", OneHotEncoder(handle_unknown="ignore"), ["class", "sex"]),
])
models = {"logistic": LogisticRegression(max_iter=500), "forest": RandomForestClassifier(n_estimators=40, random_state=0, n_jobs=-1)}
scores = {}
for name, model in models.items():
    pipeline = make_pipeline(prepare, model)
    scores[name] = cross_val_score(pipeline, X_train, y_train, cv=4, n_jobs=2).mean()
    models[name] = pipeline.fit(X_train, y_train)
best = max(scores, key=scores.get)
accuracy = accuracy_score(y_test, models[best].predict(X_test))
print(sorted(scores), accuracy > 0.65)
print(classification_report(y_test, models[best].predict(X_test), digits=2).splitlines()[0].split())
weights = pd.Series(models["logistic"][-1].coef_[0], index=prepare.fit(X_train).get_feature_names_out())
weights.abs().idxmax()
